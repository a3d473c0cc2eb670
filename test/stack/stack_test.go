package stack

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func TestMain(m *testing.M) { Main(m) }

func TestSharedServersServeEveryTest(t *testing.T) {
	for range 2 {
		c := client(t, SharedKafka(t))
		passRecord(t, c, createTopic(t, c, 1), "hello")
		redis := SharedRedis(t)
		command(t, redis.URL(), "SET key value")
		if got := command(t, redis.URL(), "EXISTS key"); got != ":1" {
			t.Errorf("EXISTS after SET: got %q, want :1", got)
		}
		redis.Flush()
		if got := command(t, redis.URL(), "EXISTS key"); got != ":0" {
			t.Errorf("EXISTS after Flush: got %q, want :0", got)
		}
	}
}

func TestKafkaSurvivesALostNode(t *testing.T) {
	cluster := Kafka(t, Nodes(3), Set("broker.session.timeout.ms", "3000"), Set("controller.socket.timeout.ms", "2000"), Set("replica.socket.timeout.ms", "2000"))
	topic := createTopic(t, client(t, cluster), 3)
	// A client of its own each time: what a client remembers of a lost node is not under test.
	for _, step := range []struct {
		what string
		do   func()
	}{
		{"all run", func() {}},
		{"3 is killed", cluster.Nodes[2].Kill},
		{"3 is back", cluster.Nodes[2].Restart},
		{"1 is stopped", cluster.Nodes[0].Stop},
		{"1 goes on", cluster.Nodes[0].Continue},
	} {
		start := time.Now()
		step.do()
		passRecord(t, client(t, cluster), topic, step.what)
		t.Logf("%s: produced and consumed after %.1f s", step.what, time.Since(start).Seconds())
	}
}

func TestKafkaSpeaksTLSAndSASL(t *testing.T) {
	cluster := Kafka(t, MutualTLS(), SASL())
	authority, err := os.ReadFile(cluster.CA)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(cluster.ClientCert, cluster.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	withTLS := kgo.DialTLSConfig(&tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}})
	for _, mechanism := range []sasl.Mechanism{
		plain.Auth{User: User, Pass: Password}.AsMechanism(),
		scram.Auth{User: User, Pass: Password}.AsSha256Mechanism(),
		scram.Auth{User: User, Pass: Password}.AsSha512Mechanism(),
	} {
		t.Run(mechanism.Name(), func(t *testing.T) {
			c := client(t, cluster, withTLS, kgo.SASL(mechanism))
			passRecord(t, c, createTopic(t, c, 1), "hello")
		})
	}
	t.Run("wrong password", func(t *testing.T) {
		wrong := plain.Auth{User: User, Pass: "wrong"}.AsMechanism()
		if err := client(t, cluster, withTLS, kgo.SASL(wrong)).Ping(t.Context()); err == nil {
			t.Error("a wrong password was accepted")
		}
	})
	t.Run("no certificate", func(t *testing.T) {
		without := kgo.DialTLSConfig(&tls.Config{RootCAs: roots})
		right := plain.Auth{User: User, Pass: Password}.AsMechanism()
		if err := client(t, cluster, without, kgo.SASL(right)).Ping(t.Context()); err == nil {
			t.Error("a client without a certificate was accepted")
		}
	})
}

func TestRedisKeepsOrLosesItsData(t *testing.T) {
	redis := Redis(t)
	command(t, redis.URL(), "SET key value")
	command(t, redis.URL(), "CONFIG SET appendfsync always")
	command(t, redis.URL(), "SET other value")
	redis.Kill()
	redis.Restart()
	if got := command(t, redis.URL(), "EXISTS key other"); got != ":2" {
		t.Errorf("after Restart: got %q, want :2", got)
	}
	redis.RestartEmpty()
	if got := command(t, redis.URL(), "EXISTS key other"); got != ":0" {
		t.Errorf("after RestartEmpty: got %q, want :0", got)
	}
	redis.Stop()
	redis.Continue()
	redis.Flush()
}

// A test binary that is killed has no chance to clean up: the kernel ends its servers.
func TestServersDieWithTheirBinary(t *testing.T) {
	if os.Getenv(asVictim) != "" {
		redis := Redis(t)
		fmt.Printf("serving %s\n", redis.URL())
		<-t.Context().Done() // until killed
	}
	Require(t)
	victim := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v")
	victim.Env = append(os.Environ(), asVictim+"=1")
	output, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	var address string
	for lines := bufio.NewScanner(output); address == "" && lines.Scan(); {
		if _, after, ok := strings.Cut(lines.Text(), "serving "); ok {
			address = after
		}
	}
	if address == "" {
		t.Fatal("the victim started no Redis")
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	victim.Process.Kill()
	victim.Wait()
	conn.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || os.IsTimeout(err) {
		t.Errorf("10 s after its test binary was killed Redis still serves (%v)", err)
	}
}

const asVictim = "HEED_STACK_TEST_VICTIM"

func TestVersionsAgree(t *testing.T) {
	m := regexp.MustCompile(`<kafka.version>(.*)</kafka.version>`).FindSubmatch(pom)
	if m == nil || string(m[1]) != KafkaVersion {
		t.Errorf("pom.xml has Kafka %q, fetch.go %s", m, KafkaVersion)
	}
}

func client(t *testing.T, c *Cluster, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := kgo.NewClient(append(options, kgo.SeedBrokers(c.Brokers()...),
		kgo.RetryTimeout(20*time.Second), kgo.RequestTimeoutOverhead(2*time.Second), kgo.MetadataMinAge(100*time.Millisecond))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

func createTopic(t *testing.T, c *kgo.Client, replicas int16) string {
	t.Helper()
	topic := fmt.Sprintf("stack-%d", time.Now().UnixNano())
	request := kmsg.NewPtrCreateTopicsRequest()
	asked := kmsg.NewCreateTopicsRequestTopic()
	asked.Topic, asked.NumPartitions, asked.ReplicationFactor = topic, 1, replicas
	request.Topics, request.TimeoutMillis = append(request.Topics, asked), 30_000
	answer, err := request.RequestWith(t.Context(), c)
	if err == nil {
		err = kerr.ErrorForCode(answer.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatalf("create a topic with %d replicas: %v", replicas, err)
	}
	return topic
}

// passRecord produces one record with acks from all replicas and reads the topic until it comes.
func passRecord(t *testing.T, c *kgo.Client, topic, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	if err := c.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr(); err != nil {
		t.Fatalf("%s: produce: %v", value, err)
	}
	c.AddConsumePartitions(map[string]map[int32]kgo.Offset{topic: {0: kgo.NewOffset().AtStart()}})
	for ctx.Err() == nil {
		for _, r := range c.PollFetches(ctx).Records() {
			if string(r.Value) == value {
				return
			}
		}
	}
	t.Fatalf("%s: the record was not to be read", value)
}

// command sends one inline command to Redis and returns the first line of the answer.
func command(t *testing.T, address, line string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", u.Host)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "%s\r\n", line)
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(answer)
}
