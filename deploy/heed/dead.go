package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

func deadCommands() []command {
	return []command{
		{
			name: "dead list", usage: "[--dispatch] [--class C] [--provider P] [--endpoint ID] [--since T] [--until T]",
			short: "dead letters: what could not be understood, or not be delivered",
			help: `Without --dispatch the callbacks that the normalizer could not read (heed.callbacks.dead), with it the events
that the dispatcher gave up (heed.dispatch.dead). Prints how many there are of each class, then one line
each: place, time, class, provider and endpoint or subscription, and what was wrong. No personal data.`,
			run: func(ctx context.Context, c *call) error { return c.deadList(ctx) },
		},
		{
			name: "dead show", usage: "TOPIC/PARTITION@OFFSET",
			short: "one dead letter: a captured request, or an event, as it stands on Kafka",
			help: `Prints a callback as a captured request, byte for byte: save it as FILE.http, and heed explain FILE.http says
what is wrong with it. An event is printed as a structured CloudEvent. This shows personal data.`,
			run: func(ctx context.Context, c *call) error { return c.deadShow(ctx) },
		},
		{
			name: "dead replay", usage: "[--dispatch] [--class C] [...] [--rate N] [--yes]",
			short: "send dead letters through again; a dry run without --yes",
			help: `After the cause is mended. Callbacks go back to the topic that they stood on, and the normalizer reads them
again: events that were made the first time keep their ids, so a reader that knows ids sees nothing twice.
Events of --dispatch go to the shortest retry tier, for the subscription alone that they were for, with a
fresh budget of tries. The dead letters stay where they are until their retention ends.`,
			run: func(ctx context.Context, c *call) error { return c.deadReplay(ctx) },
		},
		{
			name: "replay", usage: "--since T [--until T] [--bulk] [--provider P] [--endpoint ID] [--rate N] [--yes]",
			short: "send a time range of raw callbacks through again; a dry run without --yes",
			help: `For when an adapter was wrong and is mended: raw callbacks from heed.callbacks (--bulk: heed.callbacks.bulk) go
to the end of their own partition, and the normalizer reads them again. Events that come out as before keep
their ids; consent's facts are the same facts; subscribers get what is new, and what they had, again.`,
			run: func(ctx context.Context, c *call) error { return c.replay(ctx) },
		},
	}
}

func deadTopic(dispatch bool) string {
	if dispatch {
		return schemas.TopicDispatchDead
	}
	return schemas.TopicCallbacksDead
}

func (c *call) deadList(ctx context.Context) error {
	var f choice
	f.flags(c.flags, "since", "until", "class", "provider", "endpoint", "subscription", "id")
	dispatch := c.flags.Bool("dispatch", false, "the dispatcher's dead letters")
	limit := c.flags.Int("limit", 100, "at most `N` lines; all are counted")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	client, err := c.kafka()
	if err != nil {
		return err
	}
	defer client.Close()
	classes := map[string]int{}
	var lines []string
	err = scan(ctx, client, deadTopic(*dispatch), &f, func(r *stream.Record) error {
		class := string(r.Header(schemas.HeaderDeadClass))
		classes[class]++
		if len(lines) < *limit {
			whose := string(r.Header("ce_"+schemas.ExtProvider)) + " " + string(r.Header("ce_"+schemas.ExtEndpoint))
			if *dispatch {
				whose = string(r.Header(schemas.HeaderSubscription)) + " " + stream.EventType(r)
			}
			item := ""
			if index := r.Header(schemas.HeaderDeadIndex); index != nil {
				item = " (items " + string(index) + ")"
			}
			lines = append(lines, fmt.Sprintf("%s  %s  %s  %s%s  %s", placeOf(r), r.Time.UTC().Format(time.RFC3339), class, whose, item, r.Header(schemas.HeaderDeadMessage)))
		}
		return nil
	})
	if err != nil {
		return err
	}
	total := 0
	for _, class := range slices.Sorted(maps.Keys(classes)) {
		fmt.Fprintf(c.out, "%8d  %s\n", classes[class], class)
		total += classes[class]
	}
	if total == 0 {
		fmt.Fprintf(c.out, "no dead letters on %s\n", deadTopic(*dispatch))
		return nil
	}
	fmt.Fprintf(c.out, "%8d  on %s\n\n%s\n", total, deadTopic(*dispatch), strings.Join(lines, "\n"))
	if total > len(lines) {
		fmt.Fprintf(c.out, "... and %d more (--limit)\n", total-len(lines))
	}
	return nil
}

func (c *call) deadShow(ctx context.Context) error {
	limit := c.flags.Duration("timeout", 30*time.Second, "how long to wait for Kafka")
	if err := c.parse(1, 1); err != nil {
		return err
	}
	at, err := parsePlace(c.args[0])
	if err != nil {
		return err
	}
	client, err := c.kafka()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	r, err := at.fetch(ctx, client)
	if err != nil {
		return err
	}
	for _, h := range r.Headers {
		fmt.Fprintf(c.err, "%s: %s\n", h.Key, h.Value)
	}
	e, err := stream.ParseEvent(&r)
	if err != nil || e.ContentType == schemas.CaptureType {
		_, err = c.out.Write(r.Value)
		return err
	}
	fmt.Fprintf(c.out, "%s\n", e.Structured())
	return nil
}

func (c *call) deadReplay(ctx context.Context) error {
	var f choice
	f.flags(c.flags, "since", "until", "class", "provider", "endpoint", "subscription", "id")
	dispatch := c.flags.Bool("dispatch", false, "the dispatcher's dead letters")
	var a again
	a.flags(c)
	if err := c.parse(0, 0); err != nil {
		return err
	}
	return a.run(ctx, c, deadTopic(*dispatch), &f, func(r *stream.Record) (stream.Message, error) { return revived(r, *dispatch) })
}

// revived is the message by which a dead letter goes through again.
func revived(r *stream.Record, dispatch bool) (stream.Message, error) {
	m := stream.Message{Topic: string(r.Header(schemas.HeaderDeadTopic)), Key: r.Key, Value: r.Value}
	for _, h := range r.Headers {
		switch {
		case strings.HasPrefix(h.Key, schemas.HeaderDeadPrefix) && h.Key != schemas.HeaderDeadFirstFailedAt:
		case h.Key == schemas.HeaderReplayedFrom:
		case dispatch && h.Key == schemas.HeaderAttempts:
			m.Headers = append(m.Headers, stream.Header{Key: h.Key, Value: []byte("0")})
		default:
			m.Headers = append(m.Headers, h)
		}
	}
	m.Headers = append(m.Headers, stream.Header{Key: schemas.HeaderReplayedFrom, Value: []byte(placeOf(r).String())})
	switch {
	case dispatch && r.Header(schemas.HeaderSubscription) == nil:
		return m, fmt.Errorf("%s names no subscription; it cannot be delivered again", placeOf(r))
	case dispatch:
		m.Topic = schemas.RetryTiers()[0].Topic
	case m.Topic != schemas.TopicCallbacks && m.Topic != schemas.TopicCallbacksBulk:
		return m, fmt.Errorf("%s came from %q, which is no topic of raw callbacks", placeOf(r), m.Topic)
	}
	return m, nil
}

func (c *call) replay(ctx context.Context) error {
	var f choice
	f.flags(c.flags, "since", "until", "provider", "endpoint", "id")
	bulk := c.flags.Bool("bulk", false, "the bulk lane's topic, "+schemas.TopicCallbacksBulk)
	var a again
	a.flags(c)
	if err := c.parse(0, 0); err != nil {
		return err
	}
	if f.since.IsZero() {
		return usage("say from when on: --since 2h, or --since 2026-01-02T03:04:05Z")
	}
	lane := schemas.LaneFast
	if *bulk {
		lane = schemas.LaneBulk
	}
	return a.run(ctx, c, lane.Topic(), &f, func(r *stream.Record) (stream.Message, error) {
		if stream.EventType(r) != schemas.CallbackReceived.Type() {
			return stream.Message{}, nil // a time mark
		}
		m := stream.Message{Topic: r.Topic, To: stream.At(r.Partition), Key: r.Key, Value: r.Value}
		for _, h := range r.Headers {
			if h.Key == schemas.HeaderReplayedFrom {
				return stream.Message{}, nil // itself a copy: its original is in the range, or was
			}
			m.Headers = append(m.Headers, h)
		}
		m.Headers = append(m.Headers, stream.Header{Key: schemas.HeaderReplayedFrom, Value: []byte(placeOf(r).String())})
		return m, nil
	})
}

// again appends chosen records once more.
type again struct {
	yes  bool
	rate float64
}

func (a *again) flags(c *call) {
	c.flags.BoolVar(&a.yes, "yes", false, "do it; without it only say what would be done")
	c.flags.Float64Var(&a.rate, "rate", 500, "at most `N` records a second")
}

func (a *again) run(ctx context.Context, c *call, topic string, f *choice, message func(*stream.Record) (stream.Message, error)) error {
	if a.rate <= 0 {
		return usage("--rate is a number above 0")
	}
	client, err := c.kafka()
	if err != nil {
		return err
	}
	defer client.Close()
	writer := stream.NewWriter(client, stream.WriterOptions{})
	start, count, left := time.Now(), 0, 0
	tally := map[string]int{}
	scanned := scan(ctx, client, topic, f, func(r *stream.Record) error {
		m, err := message(r)
		switch {
		case err != nil:
			fmt.Fprintf(c.err, "left out: %v\n", err)
			left++
			return nil
		case m.Topic == "":
			return nil
		}
		count++
		tally[strings.TrimSpace(string(r.Header("ce_"+schemas.ExtProvider))+" "+string(r.Header(schemas.HeaderDeadClass)))+" -> "+m.Topic]++
		if !a.yes {
			return nil
		}
		due := start.Add(time.Duration(float64(count) / a.rate * float64(time.Second)))
		if wait := time.Until(due); wait > 0 {
			select {
			case <-time.After(wait):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		// One at a time: the records of a partition stay in their order, and the rate is a choice of
		// the operator's, not of Kafka's.
		if _, err := writer.Append(ctx, m); err != nil {
			return fmt.Errorf("%s (%d were appended before it): %w", placeOf(r), count-1, err)
		}
		return nil
	})
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := writer.Close(closing); err != nil && scanned == nil {
		scanned = err
	}
	for _, what := range slices.Sorted(maps.Keys(tally)) {
		fmt.Fprintf(c.out, "%8d  %s\n", tally[what], what)
	}
	if scanned != nil {
		return scanned
	}
	done := "appended"
	if !a.yes {
		done = "would be appended; say --yes to do it"
	}
	fmt.Fprintf(c.out, "%8d  %s", count, done)
	if left > 0 {
		fmt.Fprintf(c.out, ", %d left out", left)
	}
	fmt.Fprintln(c.out)
	return nil
}
