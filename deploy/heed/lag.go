package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

func lagCommands() []command {
	return []command{{
		name: "lag", usage: "[--subscriptions FILE] [--lane ID] [--max-age D] [--json]",
		short: "how far each stage and each subscription is behind, in records and in time",
		help: `A row per group and topic: the records that wait (time marks among them: one a second and partition), the age
of the oldest, and how much of the topic's retention that is: at 100% records are lost. Lanes are those of the
subscriptions file (HEED_SUBSCRIPTIONS_FILE) and of --lane. --max-age makes it an alarm: exit 1 when something
waits longer.`,
		run: func(ctx context.Context, c *call) error { return c.lag(ctx) },
	}}
}

// behind is how far a group is behind on a topic.
type behind struct {
	Group   string  `json:"group"`
	Topic   string  `json:"topic"`
	Waiting int64   `json:"waiting"`
	Age     float64 `json:"oldest_seconds"`
	Used    float64 `json:"of_retention"` // 0 to 1
	Lost    int64   `json:"lost"`         // records that retention took before they were read
	Started bool    `json:"started"`      // the group has committed something
}

func (c *call) lag(ctx context.Context) error {
	file := c.flags.String("subscriptions", c.getenv("HEED_SUBSCRIPTIONS_FILE"), "the subscriptions `FILE`")
	var lanes []string
	c.flags.Func("lane", "a subscription's `ID`; may be said several times", func(s string) error { lanes = append(lanes, s); return nil })
	maxAge := c.flags.Duration("max-age", 0, "exit 1 when a record waits longer")
	asJSON := c.flags.Bool("json", false, "print JSON lines")
	limit := c.flags.Duration("timeout", 30*time.Second, "how long to wait for Kafka")
	if err := c.parse(0, 0); err != nil {
		return err
	}
	if *file != "" {
		data, err := os.ReadFile(*file)
		if err != nil {
			return err
		}
		subscriptions, err := schemas.ParseSubscriptions(data, schemas.SubscriptionContext{})
		if err != nil {
			return fmt.Errorf("%s:\n%w", *file, err)
		}
		for _, s := range subscriptions {
			lanes = append(lanes, s.ID)
		}
	}
	groups := []string{schemas.GroupNormalizer, schemas.GroupConsent, schemas.GroupRetryTiers}
	for _, id := range lanes {
		groups = append(groups, schemas.GroupLanePrefix+id)
	}
	client, err := c.kafka()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	var rows []behind
	for _, group := range groups {
		for _, topic := range schemas.GroupReads(group) {
			row, err := lagOf(ctx, client, group, topic)
			if err != nil {
				return err
			}
			rows = append(rows, row)
		}
	}
	late := false
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	if !*asJSON {
		fmt.Fprintln(table, "GROUP\tTOPIC\tWAITING\tOLDEST\tOF RETENTION\t")
	}
	for _, row := range rows {
		late = late || *maxAge > 0 && row.Age > maxAge.Seconds()
		if *asJSON {
			if err := json.NewEncoder(c.out).Encode(row); err != nil {
				return err
			}
			continue
		}
		note := ""
		switch {
		case row.Lost > 0:
			note = fmt.Sprintf("%d LOST to retention", row.Lost)
		case !row.Started:
			note = "nothing committed yet"
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%.0f%%\t%s\n", row.Group, row.Topic, row.Waiting, age(row.Age), 100*row.Used, note)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if late {
		return fmt.Errorf("something waits longer than %s", *maxAge)
	}
	return nil
}

func age(seconds float64) string {
	if seconds == 0 {
		return "-"
	}
	return time.Duration(seconds * float64(time.Second)).Round(time.Second).String()
}

func lagOf(ctx context.Context, client *stream.Client, group, topic string) (behind, error) {
	row := behind{Group: group, Topic: topic}
	bounds, err := client.OffsetBounds(ctx, topic)
	if err != nil {
		return row, fmt.Errorf("%s: %w", topic, err)
	}
	var partitions []stream.TopicPartition
	for p := range bounds {
		partitions = append(partitions, stream.TopicPartition{Topic: topic, Partition: p})
	}
	committed, err := client.FetchOffsets(ctx, group, partitions...)
	if err != nil {
		return row, fmt.Errorf("group %s: %w", group, err)
	}
	row.Started = len(committed) > 0
	if !row.Started && isLane(group) {
		return row, nil // a lane that never ran may start at the end: nothing waits for it
	}
	oldest := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	var errs []error
	for _, tp := range partitions {
		b, from := bounds[tp.Partition], bounds[tp.Partition].First
		if commit, ok := committed[tp]; ok {
			if from = commit.Offset; from < b.First {
				row.Lost += b.First - from
				from = b.First
			}
		}
		if from >= b.End {
			continue
		}
		row.Waiting += b.End - from
		wg.Go(func() {
			at, err := timeOf(ctx, client, tp, from, b.End)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				errs = append(errs, err)
			} else if !at.IsZero() && at.Before(oldest) {
				oldest = at
			}
		})
	}
	wg.Wait()
	if row.Waiting > 0 {
		row.Age = time.Since(oldest).Seconds()
	}
	for _, t := range schemas.Topics() {
		if t.Name == topic && t.Retention > 0 {
			row.Used = row.Age / t.Retention.Seconds()
		}
	}
	return row, errors.Join(errs...)
}

func isLane(group string) bool {
	return group != schemas.GroupNormalizer && group != schemas.GroupConsent && group != schemas.GroupRetryTiers
}

// timeOf is the time of the first record at or after an offset; zero when compaction left none.
func timeOf(ctx context.Context, client *stream.Client, tp stream.TopicPartition, from, end int64) (time.Time, error) {
	var at time.Time
	_, err := client.Replay(ctx, tp.Topic, tp.Partition, from, end, func(records []stream.Record) error {
		at = records[0].Time
		return errEnough
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return at, err
}
