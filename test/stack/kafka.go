package stack

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// User and Password are who may connect to a cluster with SASL.
const (
	User     = "heed"
	Password = "heed-secret"
)

// heapFlags keep a broker small. The first compiler only halves the processor time of a start,
// which is what counts when many short tests share two cores; a benchmark asks for Optimised.
var heapFlags = []string{"-Xms128m", "-Xmx512m", "-XX:+UseSerialGC"}

type kafkaConfig struct {
	nodes     int
	tls       bool
	sasl      bool
	optimised bool
	settings  []string
}

// Option changes the cluster that Kafka starts.
type Option func(*kafkaConfig)

// Nodes makes it a cluster of n combined nodes, each broker and controller, with every internal
// topic on min(n, 3) of them. The default is 1.
func Nodes(n int) Option { return func(c *kafkaConfig) { c.nodes = n } }

// MutualTLS makes clients connect by TLS, with certificates of the test's own authority
// (Cluster.CA), and show one themselves (Cluster.ClientCert, Cluster.ClientKey).
func MutualTLS() Option { return func(c *kafkaConfig) { c.tls = true } }

// SASL makes clients authenticate as User with Password by PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512.
func SASL() Option { return func(c *kafkaConfig) { c.sasl = true } }

// Set sets one line of every broker's server.properties.
func Set(name, value string) Option {
	return func(c *kafkaConfig) { c.settings = append(c.settings, name+"="+value) }
}

// Optimised lets the JVM compile fully: slower to start, faster to serve. For benchmarks.
func Optimised() Option { return func(c *kafkaConfig) { c.optimised = true } }

// Cluster is a Kafka cluster in KRaft mode.
type Cluster struct {
	Nodes []*Node // none when the cluster is shared: it is not there to be broken

	// PEM files, of clusters with TLS.
	CA, ClientCert, ClientKey string

	t       testing.TB
	brokers []string
	remove  func()
}

// Brokers are the addresses to start from, host:port.
func (c *Cluster) Brokers() []string { return c.brokers }

// Kafka starts a cluster for one test, to do with as it likes, and ends it after the test.
func Kafka(t testing.TB, options ...Option) *Cluster {
	t.Helper()
	config := kafkaConfig{nodes: 1}
	for _, o := range options {
		o(&config)
	}
	program, err := findKafka()
	if err != nil {
		unavailable(t, err)
	}
	c, err := startKafka(program, config)
	if err != nil {
		t.Fatal(err)
	}
	c.t = t
	t.Cleanup(func() {
		keepLogs(t, c.processes()...)
		c.close()
	})
	c.note(t)
	return c
}

func (c *Cluster) note(t testing.TB) {
	note(t, "ran", fmt.Sprintf("Kafka %s, %d node(s)", KafkaVersion, len(c.Nodes)))
}

// lend is the shared cluster as one test has it.
func (c *Cluster) lend(t testing.TB) *Cluster {
	t.Cleanup(func() { keepLogs(t, c.processes()...) })
	c.note(t)
	return &Cluster{t: t, brokers: c.brokers}
}

func (c *Cluster) processes() []*process {
	var all []*process
	for _, n := range c.Nodes {
		all = append(all, n.process)
	}
	return all
}

func (c *Cluster) close() {
	for _, n := range c.Nodes {
		n.process.kill()
	}
	c.remove()
}

// Node is one broker and controller of a cluster.
type Node struct {
	ID   int
	Addr string // where clients reach it

	process *process
	cluster *Cluster
}

// Kill ends the node as kill -9 does and waits until it is gone.
func (n *Node) Kill() { n.process.kill() }

// Stop freezes the node (SIGSTOP): connections stay open, nothing answers.
func (n *Node) Stop() { n.signal(syscall.SIGSTOP) }

// Continue lets a stopped node go on.
func (n *Node) Continue() { n.signal(syscall.SIGCONT) }

func (n *Node) signal(s syscall.Signal) {
	if err := n.process.signal(s); err != nil {
		n.cluster.t.Error(err)
	}
}

// Restart kills the node if it runs, starts it again with its data on its port, and returns when
// it serves.
func (n *Node) Restart() {
	n.process.kill()
	if err := n.process.start(); err != nil {
		n.cluster.t.Error(err)
	}
}

// startKafka starts all nodes side by side.
func startKafka(run program, config kafkaConfig) (c *Cluster, err error) {
	dir, remove, err := workDir("kafka")
	if err != nil {
		return nil, err
	}
	c = &Cluster{remove: remove}
	defer func() {
		if err != nil {
			c.close()
		}
	}()
	if config.tls {
		if err := c.makeCertificates(dir); err != nil {
			return nil, err
		}
	}
	ports, err := freePorts(3 * config.nodes)
	if err != nil {
		return nil, err
	}
	var voters []string
	for i := range config.nodes {
		voters = append(voters, fmt.Sprintf("%d@127.0.0.1:%d", i+1, ports[3*i]))
	}
	compiler := "-XX:TieredStopAtLevel=1"
	if config.optimised {
		compiler = "-XX:+TieredCompilation"
	}
	for i := range config.nodes {
		id := i + 1
		at := filepath.Join(dir, fmt.Sprintf("node%d", id))
		if err := os.Mkdir(at, 0o755); err != nil {
			return nil, err
		}
		node := &Node{ID: id, Addr: fmt.Sprintf("127.0.0.1:%d", ports[3*i+2]), cluster: c}
		properties := filepath.Join(at, "server.properties")
		text := strings.Join(config.properties(c, node, at, voters, ports[3*i:]), "\n") + "\n"
		if err := os.WriteFile(properties, []byte(text), 0o644); err != nil {
			return nil, err
		}
		name := fmt.Sprintf("%s-%d", filepath.Base(dir), id)
		java := append(slices.Clone(heapFlags), compiler, "-Dorg.apache.logging.log4j.level=INFO",
			"-cp", run.classpath, "kafka.Kafka", properties)
		node.process = &process{
			name: name, container: run.image != "", argv: run.command(name, dir, java...),
			log: filepath.Join(dir, fmt.Sprintf("kafka-%d.log", id)), ready: "Kafka Server started",
		}
		c.Nodes = append(c.Nodes, node)
		c.brokers = append(c.brokers, node.Addr)
	}
	if err := config.format(run, dir); err != nil {
		return nil, err
	}
	failures := make([]error, len(c.Nodes))
	var wg sync.WaitGroup
	for i, n := range c.Nodes {
		wg.Go(func() { failures[i] = n.process.start() })
	}
	wg.Wait()
	for _, err := range failures {
		if err != nil {
			return nil, err
		}
	}
	return c, nil
}

// properties are a node's settings. Brokers and controllers talk among themselves in plain text
// on ports of their own, so that options change the clients' listener only.
func (k kafkaConfig) properties(c *Cluster, node *Node, at string, voters []string, ports []int) []string {
	protocol := map[[2]bool]string{
		{false, false}: "PLAINTEXT", {true, false}: "SSL", {false, true}: "SASL_PLAINTEXT", {true, true}: "SASL_SSL",
	}[[2]bool{k.tls, k.sasl}]
	replicas := min(k.nodes, 3)
	lines := []string{
		"process.roles=broker,controller",
		fmt.Sprintf("node.id=%d", node.ID),
		"controller.quorum.voters=" + strings.Join(voters, ","),
		fmt.Sprintf("listeners=CONTROLLER://127.0.0.1:%d,BROKER://127.0.0.1:%d,CLIENT://%s", ports[0], ports[1], node.Addr),
		fmt.Sprintf("advertised.listeners=BROKER://127.0.0.1:%d,CLIENT://%s", ports[1], node.Addr),
		"listener.security.protocol.map=CONTROLLER:PLAINTEXT,BROKER:PLAINTEXT,CLIENT:" + protocol,
		"controller.listener.names=CONTROLLER",
		"inter.broker.listener.name=BROKER",
		"log.dirs=" + filepath.Join(at, "data"),
		"auto.create.topics.enable=false",
		"group.initial.rebalance.delay.ms=0",
		fmt.Sprintf("default.replication.factor=%d", replicas),
		fmt.Sprintf("min.insync.replicas=%d", max(1, replicas-1)),
		fmt.Sprintf("offsets.topic.replication.factor=%d", replicas),
		fmt.Sprintf("transaction.state.log.replication.factor=%d", replicas),
		fmt.Sprintf("transaction.state.log.min.isr=%d", max(1, replicas-1)),
		fmt.Sprintf("share.coordinator.state.topic.replication.factor=%d", replicas),
		fmt.Sprintf("share.coordinator.state.topic.min.isr=%d", max(1, replicas-1)),
		// Small: the defaults are for machines of their own (the cleaner's buffer alone is 128 MB).
		"offsets.topic.num.partitions=4",
		"transaction.state.log.num.partitions=4",
		"share.coordinator.state.topic.num.partitions=4",
		"log.cleaner.dedupe.buffer.size=8388608",
		"num.network.threads=2",
		"num.io.threads=4",
		"background.threads=2",
	}
	if k.tls {
		lines = append(lines,
			"listener.name.client.ssl.keystore.type=PEM",
			"listener.name.client.ssl.keystore.location="+filepath.Join(filepath.Dir(at), serverPEM),
			"listener.name.client.ssl.truststore.type=PEM",
			"listener.name.client.ssl.truststore.location="+c.CA,
			"listener.name.client.ssl.client.auth=required")
	}
	if k.sasl {
		const scram = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
		lines = append(lines,
			"sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
			fmt.Sprintf(`listener.name.client.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_%s="%s";`, User, Password),
			"listener.name.client.scram-sha-256.sasl.jaas.config="+scram,
			"listener.name.client.scram-sha-512.sasl.jaas.config="+scram)
	}
	return append(lines, k.settings...) // the last of two equal names holds
}

// format writes every node's first metadata. The tool runs once, for the first node: the others'
// differ in two lines, and a JVM costs 0.7 s of processor time.
func (k kafkaConfig) format(run program, dir string) error {
	first := filepath.Join(dir, "node1")
	args := []string{"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", run.classpath, "kafka.tools.StorageTool",
		"format", "-t", randomID(), "-c", filepath.Join(first, "server.properties")}
	if k.sasl {
		for _, mechanism := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
			args = append(args, "--add-scram", fmt.Sprintf("%s=[name=%s,password=%s]", mechanism, User, Password))
		}
	}
	argv := run.command(filepath.Base(dir)+"-format", dir, args...)
	tool := exec.Command(argv[0], argv[1:]...)
	if run.image != "" {
		// Its end is what ends the container; see program.command.
		if _, err := tool.StdinPipe(); err != nil {
			return err
		}
	}
	if output, err := tool.CombinedOutput(); err != nil {
		return fmt.Errorf("stack: format Kafka's storage: %w\n%s", err, output)
	}
	bootstrap, err := os.ReadFile(filepath.Join(first, "data", "bootstrap.checkpoint"))
	if err != nil {
		return err
	}
	meta, err := os.ReadFile(filepath.Join(first, "data", "meta.properties"))
	if err != nil {
		return err
	}
	for id := 2; id <= k.nodes; id++ {
		data := filepath.Join(dir, fmt.Sprintf("node%d", id), "data")
		if err := os.Mkdir(data, 0o755); err != nil {
			return err
		}
		var lines []string
		for line := range strings.Lines(string(meta)) {
			switch name, _, _ := strings.Cut(line, "="); name {
			case "node.id":
				line = fmt.Sprintf("node.id=%d\n", id)
			case "directory.id":
				line = "directory.id=" + randomID() + "\n"
			}
			lines = append(lines, line)
		}
		if err := os.WriteFile(filepath.Join(data, "meta.properties"), []byte(strings.Join(lines, "")), 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(data, "bootstrap.checkpoint"), bootstrap, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// randomID is a new id as Kafka writes its UUIDs.
func randomID() string {
	var id [16]byte
	rand.Read(id[:])
	id[0] &= 0x7f // "-" at the start would read as a flag
	return base64.RawURLEncoding.EncodeToString(id[:])
}
