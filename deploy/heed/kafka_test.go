package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/heedhq/heed/deploy/topics"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/internal/stream/devbroker"
	"github.com/heedhq/heed/schemas"
)

// cluster opens a broker with Heed's topics, and lets the tool find it.
func cluster(ctx context.Context, t *testing.T) (*stream.Client, *stream.Writer) {
	t.Helper()
	broker, err := devbroker.Open(devbroker.Options{Topics: topics.Specs(topics.Options{Partitions: 2})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	t.Setenv("HEED_KAFKA_BROKERS", strings.Join(broker.ListenAddrs(), ","))
	client, err := stream.Open(stream.Config{Brokers: broker.ListenAddrs()}, stream.Options{ClientID: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	writer := stream.NewWriter(client, stream.WriterOptions{})
	t.Cleanup(func() { _ = writer.Close(context.WithoutCancel(ctx)) })
	return client, writer
}

func heed(ctx context.Context, t *testing.T, want int, args ...string) string {
	t.Helper()
	var out, errs bytes.Buffer
	if status := run(ctx, args, strings.NewReader(""), &out, &errs); status != want {
		t.Fatalf("heed %s: status %d, want %d\n%s%s", strings.Join(args, " "), status, want, &out, &errs)
	}
	return out.String()
}

func header(name, value string) stream.Header { return stream.Header{Key: name, Value: []byte(value)} }

// raw is a raw record as ingest writes it.
func raw(i int) stream.Event {
	return stream.Event{ID: fmt.Sprint("raw-", i), Source: "heed/k9", Type: schemas.CallbackReceived.Type(), Time: time.Now(), ContentType: schemas.CaptureType,
		Extensions: []stream.Extension{{Name: schemas.ExtProvider, Value: "kaleyra"}, {Name: schemas.ExtEndpoint, Value: "k9"}},
		Data:       fmt.Appendf(nil, "POST /v1/callbacks/k9 HTTP/1.1\r\n\r\n{\"n\":%d}", i)}
}

func TestDeadCallbacks(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	client, writer := cluster(ctx, t)
	for i, class := range []string{"malformed", "malformed", "too_deep"} {
		e := raw(i)
		m := e.Message(schemas.TopicCallbacksDead, []byte("person"))
		m.Headers = append(m.Headers, header(schemas.HeaderDeadClass, class), header(schemas.HeaderDeadTopic, schemas.TopicCallbacks),
			header(schemas.HeaderDeadMessage, "line 1: not JSON"), header(schemas.HeaderDeadFirstFailedAt, "2026-01-02T03:04:05Z"))
		if _, err := writer.Append(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	list := heed(ctx, t, 0, "dead", "list")
	for _, want := range []string{"2  malformed", "1  too_deep", "3  on heed.callbacks.dead", "kaleyra k9", "line 1: not JSON"} {
		if !strings.Contains(list, want) {
			t.Errorf("dead list lacks %q:\n%s", want, list)
		}
	}
	var at string
	for line := range strings.Lines(list) {
		if strings.Contains(line, "too_deep") && strings.Contains(line, "@") {
			at, _, _ = strings.Cut(line, " ")
		}
	}
	if got := heed(ctx, t, 0, "dead", "show", at); got != "POST /v1/callbacks/k9 HTTP/1.1\r\n\r\n{\"n\":2}" {
		t.Errorf("dead show: %q", got)
	}
	heed(ctx, t, 1, "dead", "show", schemas.TopicCallbacksDead+"/0@999")
	heed(ctx, t, 2, "dead", "show", "nowhere")

	if dry := heed(ctx, t, 0, "dead", "replay", "--class", "malformed"); !strings.Contains(dry, "2  would be appended") {
		t.Errorf("dry run: %s", dry)
	}
	if n := len(all(ctx, t, client, schemas.TopicCallbacks)); n != 0 {
		t.Fatalf("the dry run wrote %d records", n)
	}
	heed(ctx, t, 0, "dead", "replay", "--class", "malformed", "--yes")
	got := all(ctx, t, client, schemas.TopicCallbacks)
	if len(got) != 2 {
		t.Fatalf("%d records came back, want 2", len(got))
	}
	for _, r := range got {
		if string(r.Key) != "person" || r.Header(schemas.HeaderDeadClass) != nil || r.Header(schemas.HeaderDeadFirstFailedAt) == nil ||
			!strings.HasPrefix(string(r.Header(schemas.HeaderReplayedFrom)), schemas.TopicCallbacksDead+"/") || !strings.HasPrefix(string(r.Header("ce_id")), "raw-") {
			t.Errorf("replayed record: key %s headers %v", r.Key, r.Headers)
		}
	}
}

func TestDeadDeliveries(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	client, writer := cluster(ctx, t)
	for _, id := range []string{"crm", ""} {
		e := stream.Event{ID: "e-" + id, Source: "heed/k9", Type: schemas.MessageReceived.Type(), ContentType: "application/json", Data: []byte(`{}`)}
		m := e.Message(schemas.TopicDispatchDead, []byte("p"))
		m.Headers = append(m.Headers, header(schemas.HeaderDeadClass, "exhausted"), header(schemas.HeaderAttempts, "7"))
		if id != "" {
			m.Headers = append(m.Headers, header(schemas.HeaderSubscription, id))
		}
		if _, err := writer.Append(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	if got := heed(ctx, t, 0, "dead", "replay", "--dispatch", "--yes"); !strings.Contains(got, "1  appended, 1 left out") {
		t.Errorf("got %s", got)
	}
	got := all(ctx, t, client, schemas.TopicDispatchRetry30s)
	if len(got) != 1 || string(got[0].Header(schemas.HeaderAttempts)) != "0" || string(got[0].Header(schemas.HeaderSubscription)) != "crm" || got[0].Header(schemas.HeaderDeadClass) != nil {
		t.Errorf("got %v", got)
	}
}

func TestReplayOfARange(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	client, writer := cluster(ctx, t)
	now := time.Now()
	for i := range 6 {
		e := raw(i)
		m := e.Message(schemas.TopicCallbacks, fmt.Appendf(nil, "person %d", i%3))
		m.Time = now.Add(time.Duration(i-6) * time.Minute)
		if _, err := writer.Append(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	mark := stream.Event{ID: "m", Source: "heed/ingest", Type: schemas.TimeMark.Type(), ContentType: "application/json", Data: []byte("{}")}
	if _, err := writer.Append(ctx, mark.Message(schemas.TopicCallbacks, []byte("m"))); err != nil {
		t.Fatal(err)
	}
	heed(ctx, t, 2, "replay", "--yes")
	since := now.Add(-3*time.Minute - time.Second).Format(time.RFC3339)
	for range 2 { // the second time the copies are in the range, and left alone
		if got := heed(ctx, t, 0, "replay", "--since", since, "--yes", "--rate", "10000"); !strings.Contains(got, "3  appended") {
			t.Errorf("got %s", got)
		}
	}
	copies := map[string]int{}
	home := map[string]int32{}
	for _, r := range all(ctx, t, client, schemas.TopicCallbacks) {
		id := string(r.Header("ce_id"))
		if r.Header(schemas.HeaderReplayedFrom) != nil {
			copies[id]++
			if home[id] != r.Partition {
				t.Errorf("%s moved from partition %d to %d", id, home[id], r.Partition)
			}
		} else {
			home[id] = r.Partition
		}
	}
	if diff := cmp.Diff(map[string]int{"raw-3": 2, "raw-4": 2, "raw-5": 2}, copies); diff != "" {
		t.Error(diff)
	}
}

func TestLag(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	client, writer := cluster(ctx, t)
	for i := range 5 {
		e := raw(i)
		m := e.Message(schemas.TopicCallbacks, []byte("p"))
		m.To, m.Time = stream.At(1), time.Now().Add(-time.Hour)
		if _, err := writer.Append(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	err := client.CommitOffsets(ctx, schemas.GroupNormalizer, map[stream.TopicPartition]stream.Commit{{Topic: schemas.TopicCallbacks, Partition: 1}: {Offset: 2}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "subscriptions.yaml")
	if err := os.WriteFile(file, []byte("subscriptions:\n- {id: crm, sink: \"https://x.example/\"}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := heed(ctx, t, 0, "lag", "--subscriptions", file)
	for _, want := range []string{"heed.normalizer", "  3        1h0m", "heed.lane.crm", "nothing committed yet"} {
		if !strings.Contains(got, want) {
			t.Errorf("lag lacks %q:\n%s", want, got)
		}
	}
	heed(ctx, t, 1, "lag", "--max-age", "5m")
	if got := heed(ctx, t, 0, "lag", "--json", "--max-age", "2h"); !strings.Contains(got, `"waiting":3`) {
		t.Errorf("got %s", got)
	}
}

func all(ctx context.Context, t *testing.T, client *stream.Client, topic string) []stream.Record {
	t.Helper()
	var got []stream.Record
	err := scan(ctx, client, topic, &choice{}, func(r *stream.Record) error { got = append(got, r.Clone()); return nil })
	if err != nil {
		t.Fatal(err)
	}
	return got
}
