// Package compose holds docker-compose.yml, its sample files and the Dockerfile to the code: their
// images, ports, variables, health checks and topics are those that the stages and the tests
// have. It has no code of its own; nobody imports it.
package compose

import (
	"bufio"
	"cmp"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/heedhq/heed/consent"
	"github.com/heedhq/heed/dispatcher"
	"github.com/heedhq/heed/ingest"
	"github.com/heedhq/heed/internal/env"
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/normalizer"
	"github.com/heedhq/heed/schemas"
	"github.com/heedhq/heed/test/stack"
)

const root = "../.."

type composeFile struct {
	Services map[string]composeService
	Volumes  map[string]any
}

type composeService struct {
	Image       string
	Command     []string
	Ports       []string
	Environment map[string]string
	Volumes     []string
	Build       struct {
		Context, Dockerfile string
		Args                map[string]string
	}
	DependsOn       map[string]struct{ Condition string } `yaml:"depends_on"`
	Healthcheck     struct{ Test []string }
	StopGracePeriod string `yaml:"stop_grace_period"`
}

func read(t *testing.T) composeFile {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "docker-compose.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file composeFile
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	// ${NAME:-default} as compose fills it in when NAME is not set.
	variable := regexp.MustCompile(`\$\{\w+:-([^}]*)\}`)
	for _, s := range file.Services {
		for name, value := range s.Environment {
			s.Environment[name] = variable.ReplaceAllString(value, "$1")
		}
	}
	return file
}

var stages = map[string]func() service.Stage{
	"ingest": ingest.Stage, "normalizer": normalizer.Stage, "consent": consent.Stage, "dispatcher": dispatcher.Stage,
}

// TestStagesTakeTheirConfiguration parses each stage's environment as the stage does, with the
// sample files, and runs its --check.
func TestStagesTakeTheirConfiguration(t *testing.T) {
	file := read(t)
	for name, makeStage := range stages {
		t.Run(name, func(t *testing.T) {
			s, ok := file.Services[name]
			if !ok {
				t.Fatal("docker-compose.yml has no such service")
			}
			var environ []string
			for variable, value := range s.Environment {
				for _, mount := range s.Volumes {
					host, inside, _ := strings.Cut(mount, ":")
					inside = strings.TrimSuffix(inside, ":ro")
					if value == inside {
						value = filepath.Join(root, host)
					}
				}
				if variable == "HEED_INGEST_SPOOL_DIR" {
					value = t.TempDir()
				}
				t.Setenv(variable, value)
				environ = append(environ, variable+"="+value)
			}
			stage, vars := makeStage(), new(env.Vars)
			stage.Declare(vars)
			if err := vars.Parse(environ, stage.Known); err != nil {
				t.Errorf("the stage would not start: %v", err)
			}
			if stage.Check != nil {
				if err := stage.Check(); err != nil {
					t.Errorf("--check says: %v", err)
				}
			}
			for variable := range s.Environment {
				shell := []string{"HEED_LOG_LEVEL", "HEED_ADMIN_LISTEN"} // declared by internal/service
				if strings.HasPrefix(variable, "HEED_") && !slices.Contains(append(vars.Names(), shell...), variable) {
					t.Errorf("%s is given but the stage does not read it", variable)
				}
			}
		})
	}
}

// TestPortsAreTheStages holds published ports and health checks to the stages' own defaults.
func TestPortsAreTheStages(t *testing.T) {
	file := read(t)
	for name, makeStage := range stages {
		stage, vars := makeStage(), new(env.Vars)
		stage.Declare(vars)
		s := file.Services[name]
		admin := port(t, cmp.Or(s.Environment["HEED_ADMIN_LISTEN"], stage.AdminListen))
		want := []string{admin}
		if slices.Contains(vars.Names(), "HEED_LISTEN") {
			want = append(want, port(t, cmp.Or(s.Environment["HEED_LISTEN"], defaultOf(vars, "HEED_LISTEN"))))
		}
		var got []string
		for _, mapping := range s.Ports {
			parts := strings.Split(mapping, ":")
			if len(parts) != 3 || parts[0] != "127.0.0.1" || parts[1] != parts[2] {
				t.Errorf("%s: port %s: want 127.0.0.1:N:N", name, mapping)
			}
			got = append(got, parts[len(parts)-1])
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s publishes %v, but the stage listens on %v", name, got, want)
		}
		wantTest := []string{"CMD", "/heed", "probe", "http://127.0.0.1:" + admin + "/readyz"}
		if !slices.Equal(s.Healthcheck.Test, wantTest) {
			t.Errorf("%s: health check %q, want %q", name, s.Healthcheck.Test, wantTest)
		}
		if grace, err := time.ParseDuration(s.StopGracePeriod); err != nil || grace <= service.StopBudget+5*time.Second {
			t.Errorf("%s: stop_grace_period %q (%v): a stage's stop may take %s and is cut 5 s later", name, s.StopGracePeriod, err, service.StopBudget)
		}
		for dependency, condition := range map[string]string{"kafka": "service_healthy", "topics": "service_completed_successfully"} {
			if s.DependsOn[dependency].Condition != condition {
				t.Errorf("%s: depends_on %s: %q, want %q", name, dependency, s.DependsOn[dependency].Condition, condition)
			}
		}
	}
}

// TestServersAreTheTested holds Kafka and Redis to the versions and settings of test/stack.
func TestServersAreTheTested(t *testing.T) {
	file := read(t)
	kafka, redis := file.Services["kafka"], file.Services["redis"]
	if kafka.Image != stack.KafkaImage {
		t.Errorf("Kafka is %s, the tests run %s", kafka.Image, stack.KafkaImage)
	}
	if redis.Image != stack.RedisImage {
		t.Errorf("Redis is %s, the tests run %s", redis.Image, stack.RedisImage)
	}
	if got := kafka.Environment["KAFKA_AUTO_CREATE_TOPICS_ENABLE"]; got != "false" {
		t.Errorf("KAFKA_AUTO_CREATE_TOPICS_ENABLE is %q: topics are created explicitly", got)
	}
	if got, want := file.Services["topics"].Command, []string{"topics", "apply"}; !slices.Equal(got, want) {
		t.Errorf("topics runs %q, want %q", got, want)
	}
	for _, setting := range []string{"--appendonly yes", "--maxmemory-policy noeviction", "--hash-max-listpack-value 512"} {
		if !strings.Contains(strings.Join(redis.Command, " "), setting) {
			t.Errorf("Redis runs without %s", setting)
		}
	}
	// Addresses name services and their ports.
	advertised := map[string]bool{}
	for listener := range strings.SplitSeq(kafka.Environment["KAFKA_ADVERTISED_LISTENERS"], ",") {
		_, addr, _ := strings.Cut(listener, "://")
		advertised[addr] = true
	}
	for name := range file.Services {
		e := file.Services[name].Environment
		if brokers, ok := e["HEED_KAFKA_BROKERS"]; ok && !advertised[brokers] {
			t.Errorf("%s: HEED_KAFKA_BROKERS=%s, but Kafka advertises %v", name, brokers, advertised)
		}
	}
	for variable, want := range map[string]string{
		"HEED_REDIS_URL":   "redis:6379",
		"HEED_CONSENT_URL": "consent:" + defaultPort(t, consent.Stage()),
	} {
		for name, s := range file.Services {
			value, ok := s.Environment[variable]
			if !ok {
				continue
			}
			if u, err := url.Parse(value); err != nil || u.Host != want {
				t.Errorf("%s: %s=%s, want host %s", name, variable, value, want)
			}
		}
	}
}

// TestOneKeyForAll: events of one person meet only when all stages make the same pseudonym.
func TestOneKeyForAll(t *testing.T) {
	file := read(t)
	keys := map[string]bool{}
	for name := range stages {
		key, ok := file.Services[name].Environment["HEED_PSEUDONYM_KEY"]
		if want := name != "dispatcher"; ok != want {
			t.Errorf("%s: HEED_PSEUDONYM_KEY given: %v, want %v", name, ok, want)
		}
		if ok {
			keys[key] = true
		}
	}
	if len(keys) != 1 {
		t.Errorf("the stages have %d different pseudonym keys", len(keys))
	}
	for key := range keys {
		if _, err := schemas.ParsePseudonymKeys(key); err != nil {
			t.Error(err)
		}
	}
}

// TestImagesBuildFromTheDockerfile holds the Dockerfile to the services and to the workspace.
func TestImagesBuildFromTheDockerfile(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(root, "deploy", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	dockerfile := string(data)
	built := map[string]bool{}
	for _, program := range regexp.MustCompile(`\./[a-z]+/[a-z/]+`).FindAllString(dockerfile, -1) {
		built[path.Base(program)] = true
		list := exec.Command("go", "list", "-f", "{{.Name}}", program)
		list.Dir = root
		output, err := list.Output()
		if name := strings.TrimSpace(string(output)); err != nil || name != "main" {
			t.Errorf("the Dockerfile builds %s, which is package %q (%v)", program, name, err)
		}
	}
	for name, s := range read(t).Services {
		if s.Build.Dockerfile == "" {
			continue
		}
		if s.Build.Dockerfile != "deploy/Dockerfile" || s.Build.Context != "." {
			t.Errorf("%s: build %+v", name, s.Build)
		}
		if program := s.Build.Args["SERVICE"]; !built[program] {
			t.Errorf("%s: SERVICE=%s, which the Dockerfile does not build", name, program)
		}
	}
	work, err := os.ReadFile(filepath.Join(root, "go.work"))
	if err != nil {
		t.Fatal(err)
	}
	version := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(work))
	if !strings.Contains(dockerfile, "golang:"+version[1]+"\n") {
		t.Errorf("go.work has Go %s, the Dockerfile builds with another", version[1])
	}
}

// port is the port of a listen address.
func port(t *testing.T, addr string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatalf("listen address %q: %v", addr, err)
	}
	return p
}

func defaultPort(t *testing.T, stage service.Stage) string {
	t.Helper()
	vars := new(env.Vars)
	stage.Declare(vars)
	return port(t, defaultOf(vars, "HEED_LISTEN"))
}

// defaultOf reads a variable's default from the reference that --help prints.
func defaultOf(vars *env.Vars, name string) string {
	var help strings.Builder
	vars.Help(&help)
	for lines := bufio.NewScanner(strings.NewReader(help.String())); lines.Scan(); {
		var def string
		if n, _ := fmt.Sscanf(lines.Text(), "  "+name+" (default %s", &def); n == 1 {
			return strings.TrimSuffix(def, ")")
		}
	}
	return ""
}
