package stack

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
)

// The versions that the tests run against. docker-compose.yml and pom.xml name the same; tests
// compare them.
const (
	KafkaVersion = "4.1.1"
	KafkaImage   = "apache/kafka:" + KafkaVersion
	RedisImage   = "redis:7"
)

//go:embed pom.xml
var pom []byte

// findKafka says how Kafka can be run here, and fetches it if that is still to be done.
var findKafka = sync.OnceValues(func() (program, error) {
	if _, err := exec.LookPath("java"); err == nil {
		jars, err := fetchKafka()
		if err != nil {
			return program{}, fmt.Errorf("stack: there is Java, but not Kafka's jars: %w", err)
		}
		return program{executable: "java", classpath: filepath.Join(jars, "*")}, nil
	}
	if dockerRuns() {
		return program{executable: "java", image: KafkaImage, classpath: "/opt/kafka/libs/*"}, nil
	}
	return program{}, errors.New("no Kafka can be run here: there is neither Java 17 with Maven nor Docker, and " + envKafka + " is not set")
})

// findRedis says how Redis can be run here.
var findRedis = sync.OnceValues(func() (program, error) {
	if _, err := exec.LookPath("redis-server"); err == nil {
		return program{executable: "redis-server"}, nil
	}
	if dockerRuns() {
		return program{executable: "redis-server", image: RedisImage}, nil
	}
	return program{}, errors.New("no Redis can be run here: there is neither redis-server nor Docker, and " + envRedis + " is not set")
})

func dockerRuns() bool { return exec.Command("docker", "version").Run() == nil }

// fetchKafka returns the folder of Kafka's jars, after Maven has put them there. Test binaries
// that run at the same time fetch them once: the others wait at the lock.
func fetchKafka() (dir string, err error) {
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(cache, "kafka.lock"), true)
	if err != nil {
		return "", err
	}
	defer unlock()
	dir = filepath.Join(cache, "kafka-"+KafkaVersion)
	if had, err := os.ReadFile(filepath.Join(dir, "pom.xml")); err == nil && bytes.Equal(had, pom) {
		return dir, nil
	}
	work, err := os.MkdirTemp(cache, "fetch-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(work)
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), pom, 0o644); err != nil {
		return "", err
	}
	libs := filepath.Join(work, "libs")
	mvn := exec.Command("mvn", "-B", "-q", "-ntp", "dependency:copy-dependencies", "-DoutputDirectory="+libs)
	mvn.Dir = work
	if output, err := mvn.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%s: %w\n%s", mvn, err, output)
	}
	if err := errors.Join(os.Rename(filepath.Join(work, "pom.xml"), filepath.Join(libs, "pom.xml")), os.RemoveAll(dir)); err != nil {
		return "", err
	}
	return dir, os.Rename(libs, dir) // whole or not at all
}

// cacheDir is the checkout's .cache, beside go.work.
func cacheDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			dir = filepath.Join(dir, ".cache")
			return dir, os.MkdirAll(dir, 0o755)
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", errors.New("this is no checkout of Heed: no go.work above the working directory")
		}
		dir = up
	}
}
