// Package topics turns the topic table of the contract into Kafka topics: what `heed topics
// apply` creates and `heed topics diff` compares, and what the all-in-one demo and the tests
// start from.
//
// It refuses to delete anything and to shrink a topic.
package topics

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// Options say how the topics of a deployment differ from the table.
type Options struct {
	Replication int // copies of each record; at least 3 in production
	Partitions  int // 0 takes the table's
}

// Specs is the topic table as Kafka topics.
func Specs(o Options) []stream.TopicSpec {
	replication := max(o.Replication, 1)
	var specs []stream.TopicSpec
	for _, t := range schemas.Topics() {
		partitions := t.Partitions
		if o.Partitions > 0 && partitions > 1 {
			partitions = o.Partitions
		}
		config := map[string]string{
			"cleanup.policy": string(t.Cleanup),
			// One copy fewer than there are: acks=all then outlives one broker.
			"min.insync.replicas": strconv.Itoa(max(replication-1, 1)),
			"compression.type":    "producer",
		}
		if t.MaxMessage > 0 {
			config["max.message.bytes"] = strconv.Itoa(t.MaxMessage)
		}
		if t.Cleanup == schemas.CleanupDelete {
			config["retention.ms"] = strconv.FormatInt(t.Retention.Milliseconds(), 10)
		} else {
			// A rebuild reads from the start: tombstones must stay longer than the longest rebuild.
			config["delete.retention.ms"] = strconv.Itoa(7 * 24 * 3600 * 1000)
			config["min.cleanable.dirty.ratio"] = "0.1"
		}
		specs = append(specs, stream.TopicSpec{Name: t.Name, Partitions: partitions, Replication: replication, Config: config})
	}
	return specs
}

// Names are the topics' names.
func Names() []string {
	var names []string
	for _, t := range schemas.Topics() {
		names = append(names, t.Name)
	}
	return names
}

// Apply creates what is missing, grows what has too few partitions and sets what is configured
// otherwise; then it waits until every partition has a leader. It returns what it did, a line
// each.
func Apply(ctx context.Context, c *stream.Client, o Options) ([]string, error) {
	differences, err := Diff(ctx, c, o)
	if err != nil {
		return nil, err
	}
	var did []string
	for _, d := range differences {
		switch {
		case d.Missing:
			err = c.CreateTopics(ctx, d.Want)
		case d.Refuse != "":
			err = errors.New(d.Refuse)
		default:
			if d.Partitions > 0 {
				err = c.AddPartitions(ctx, d.Want.Name, d.Want.Partitions)
			}
			if err == nil && len(d.Config) > 0 {
				err = c.AlterTopicConfig(ctx, d.Want.Name, d.Config)
			}
		}
		if err != nil {
			return did, fmt.Errorf("%s: %w", d.Want.Name, err)
		}
		did = append(did, d.String())
	}
	return did, c.WaitForTopics(ctx, Names()...)
}

// Difference is how one topic differs from the table.
type Difference struct {
	Want       stream.TopicSpec
	Missing    bool
	Partitions int               // how many it has, where that is too few
	Config     map[string]string // the wanted entries that it has otherwise
	Have       map[string]string // what stands there instead
	Refuse     string            // why it can't be made as wanted
}

// String is the difference in one line, for people.
func (d Difference) String() string {
	if d.Missing {
		return fmt.Sprintf("%s: create with %d partitions, %d copies", d.Want.Name, d.Want.Partitions, d.Want.Replication)
	}
	var parts []string
	if d.Refuse != "" {
		parts = append(parts, d.Refuse)
	}
	if d.Partitions > 0 {
		parts = append(parts, fmt.Sprintf("grow from %d to %d partitions", d.Partitions, d.Want.Partitions))
	}
	for _, key := range slices.Sorted(maps.Keys(d.Config)) {
		parts = append(parts, fmt.Sprintf("set %s to %s (is %q)", key, d.Config[key], d.Have[key]))
	}
	return d.Want.Name + ": " + strings.Join(parts, "; ")
}

// Diff compares the cluster's topics with the table.
func Diff(ctx context.Context, c *stream.Client, o Options) ([]Difference, error) {
	have, err := c.DescribeTopics(ctx, Names()...)
	if err != nil {
		return nil, err
	}
	var differences []Difference
	for _, want := range Specs(o) {
		if d, differs := compare(want, have); differs {
			differences = append(differences, d)
		}
	}
	return differences, nil
}

// keyed are the topics on which a person's partition is part of the truth: growing them would
// put a person's acts into two partitions, and consent's view beside its facts.
var keyed = []string{schemas.TopicInbound, schemas.TopicConsentFacts}

func compare(want stream.TopicSpec, have map[string]stream.TopicSpec) (Difference, bool) {
	d := Difference{Want: want, Config: map[string]string{}, Have: map[string]string{}}
	is, ok := have[want.Name]
	if !ok {
		d.Missing = true
		return d, true
	}
	switch {
	case is.Partitions < want.Partitions && slices.Contains(keyed, want.Name):
		d.Refuse = fmt.Sprintf("has %d partitions, want %d: people are kept by partition, so it can't grow in place", is.Partitions, want.Partitions)
	case is.Partitions < want.Partitions:
		d.Partitions = is.Partitions
	}
	for key, value := range want.Config {
		if is.Config[key] != value {
			d.Config[key], d.Have[key] = value, is.Config[key]
		}
	}
	return d, d.Refuse != "" || d.Partitions > 0 || len(d.Config) > 0
}
