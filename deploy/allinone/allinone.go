// Package allinone runs the four real stages in one process against an in-process Kafka broker
// and an in-process Redis: the quick start (bin/heed-demo) and the fast half of the end-to-end
// tests. It changes addresses, not code: there is no second architecture and no in-memory bus.
//
// It refuses to be more than that: nothing survives its end, the broker is one node without
// replicas, and no production binary imports it.
package allinone

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/heedhq/heed/consent"
	"github.com/heedhq/heed/deploy/topics"
	"github.com/heedhq/heed/dispatcher"
	"github.com/heedhq/heed/ingest"
	"github.com/heedhq/heed/internal/service"
	"github.com/heedhq/heed/internal/stream/devbroker"
	"github.com/heedhq/heed/normalizer"
)

// Options say how the stack differs from the defaults.
type Options struct {
	// Environ holds HEED_ variables for all stages ("NAME=value"); they win over the stack's own.
	Environ []string
	// Data ports, host:port; empty ones are free ports on loopback.
	Ingest, Consent, Dispatcher string
	Partitions                  int // of each topic; default 4
	Replicas                    int // of each stage; default 1. Only the first has the data port named above.
	Logs                        io.Writer
}

// Stack is the running whole.
type Stack struct {
	IngestURL, ConsentURL, DispatcherURL string
	Brokers                              string            // host:port,… of the in-process Kafka
	AdminURLs                            map[string]string // by stage, of the first replica
	Redis                                *miniredis.Miniredis

	kafka  *kfake.Cluster
	stages []*service.Running // in the order of starting
}

// Start starts everything and returns when every stage listens, or with what went wrong.
func Start(ctx context.Context, o Options) (*Stack, error) {
	s := &Stack{AdminURLs: map[string]string{}}
	if err := s.start(ctx, o); err != nil {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return nil, errors.Join(err, s.Stop(stop))
	}
	return s, nil
}

func (s *Stack) start(ctx context.Context, o Options) (err error) {
	partitions := o.Partitions
	if partitions == 0 {
		partitions = 4
	}
	s.kafka, err = devbroker.Open(devbroker.Options{Topics: topics.Specs(topics.Options{Replication: 1, Partitions: partitions})})
	if err != nil {
		return err
	}
	s.Brokers = strings.Join(s.kafka.ListenAddrs(), ",")
	if s.Redis, err = miniredis.Run(); err != nil {
		return fmt.Errorf("in-process Redis: %w", err)
	}
	// Readers first, so that the first callback finds everybody at home.
	if s.DispatcherURL, err = s.startStage(ctx, o, dispatcher.Stage, o.Dispatcher); err != nil {
		return err
	}
	if s.ConsentURL, err = s.startStage(ctx, o, consent.Stage, o.Consent); err != nil {
		return err
	}
	if _, err = s.startStage(ctx, o, normalizer.Stage, ""); err != nil {
		return err
	}
	s.IngestURL, err = s.startStage(ctx, o, ingest.Stage, o.Ingest)
	return err
}

// startStage starts every replica of a stage and gives the first one's data URL, "" for a stage
// without a data port.
func (s *Stack) startStage(ctx context.Context, o Options, stage func() service.Stage, listen string) (string, error) {
	var first *service.Running
	name := stage().Name
	for i := range max(o.Replicas, 1) {
		if i > 0 || listen == "" {
			listen = "127.0.0.1:0"
		}
		running, err := service.Start(ctx, stage(), s.environ(o, listen), o.Logs)
		if err != nil {
			return "", fmt.Errorf("%s: %w", name, err)
		}
		s.stages = append(s.stages, running)
		if i == 0 {
			first = running
		}
	}
	s.AdminURLs[name] = "http://" + first.Addr(ctx, "admin")
	if name == normalizer.Stage().Name {
		return "", nil
	}
	addr := first.Addr(ctx, "data")
	if addr == "" {
		return "", fmt.Errorf("%s ended before it listened: %w", name, first.Wait())
	}
	return "http://" + addr, nil
}

// demoKey pseudonymizes the demo's people. It is public, so it protects nobody.
const demoKey = "6865656420646f6e742075736520746869732064656d6f206b65792061742077"

func (s *Stack) environ(o Options, listen string) []string {
	environ := []string{
		"HEED_KAFKA_BROKERS=" + s.Brokers,
		"HEED_REDIS_URL=redis://" + s.Redis.Addr(),
		"HEED_PSEUDONYM_KEY=" + demoKey,
		"HEED_LISTEN=" + listen,
		"HEED_ADMIN_LISTEN=127.0.0.1:0",
		"HEED_DISPATCH_ALLOW_NETS=127.0.0.0/8",
	}
	for _, entry := range o.Environ {
		name, _, _ := strings.Cut(entry, "=")
		environ = slices.DeleteFunc(environ, func(e string) bool { return strings.HasPrefix(e, name+"=") })
		environ = append(environ, entry)
	}
	return environ
}

// Stop stops the stages in the order in which callbacks pass them, so that what was accepted
// still goes all the way, then the broker and Redis. It returns the stages' failures.
func (s *Stack) Stop(ctx context.Context) error {
	var failures []error
	for _, r := range slices.Backward(s.stages) {
		r.Stop()
		select {
		case <-r.Done():
			failures = append(failures, r.Wait())
		case <-ctx.Done():
			failures = append(failures, ctx.Err())
		}
	}
	if s.Redis != nil {
		s.Redis.Close()
	}
	if s.kafka != nil {
		s.kafka.Close()
	}
	return errors.Join(failures...)
}
