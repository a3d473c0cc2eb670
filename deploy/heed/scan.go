package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// choice says which records of a topic a command means.
type choice struct {
	since, until                            time.Time
	class, provider, endpoint, subscription string
	id                                      string
}

// flags declares the choice's flags; those that a command has no use for stay out.
func (f *choice) flags(fs *flag.FlagSet, names ...string) {
	for _, name := range names {
		switch name {
		case "since":
			fs.Func("since", "only records from this `TIME` on: RFC 3339, or an age such as 2h", timeFlag(&f.since))
		case "until":
			fs.Func("until", "only records before this `TIME`: RFC 3339, or an age such as 30m", timeFlag(&f.until))
		case "class":
			fs.StringVar(&f.class, "class", "", "only dead letters of this `CLASS`, e.g. malformed")
		case "provider":
			fs.StringVar(&f.provider, "provider", "", "only those of this provider")
		case "endpoint":
			fs.StringVar(&f.endpoint, "endpoint", "", "only those of this endpoint")
		case "subscription":
			fs.StringVar(&f.subscription, "subscription", "", "only those for this subscription")
		case "id":
			fs.StringVar(&f.id, "id", "", "only the event with this id")
		}
	}
}

func timeFlag(to *time.Time) func(string) error {
	return func(s string) error {
		if age, err := time.ParseDuration(s); err == nil {
			*to = time.Now().Add(-age)
			return nil
		}
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			return errors.New("want a time such as 2026-01-02T03:04:05Z, or an age such as 2h")
		}
		*to = at
		return nil
	}
}

// takes says whether the choice names the record.
func (f *choice) takes(r *stream.Record) bool {
	header := func(want, name string) bool { return want == "" || string(r.Header(name)) == want }
	return (f.since.IsZero() || !r.Time.Before(f.since)) && (f.until.IsZero() || r.Time.Before(f.until)) &&
		header(f.class, schemas.HeaderDeadClass) && header(f.provider, "ce_"+schemas.ExtProvider) &&
		header(f.endpoint, "ce_"+schemas.ExtEndpoint) && header(f.subscription, schemas.HeaderSubscription) && header(f.id, "ce_id")
}

// errEnough ends a scan early.
var errEnough = errors.New("enough")

// scan visits the chosen records of a topic, partition by partition in order, up to the topic's
// end at the time of the call: what is appended meanwhile, also by a replay, is not seen.
func scan(ctx context.Context, client *stream.Client, topic string, f *choice, visit func(*stream.Record) error) error {
	bounds, err := client.OffsetBounds(ctx, topic)
	if err != nil {
		return err
	}
	from := map[int32]int64{}
	for p, b := range bounds {
		from[p] = b.First
	}
	if !f.since.IsZero() {
		if from, err = client.OffsetsAt(ctx, topic, f.since); err != nil {
			return err
		}
	}
	for p := range int32(len(bounds)) {
		if from[p] >= bounds[p].End {
			continue
		}
		_, err := client.Replay(ctx, topic, p, from[p], bounds[p].End, func(records []stream.Record) error {
			for i := range records {
				if !f.takes(&records[i]) {
					continue
				}
				if err := visit(&records[i]); err != nil {
					return err
				}
			}
			return nil
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// place is where a record stands: topic/partition@offset.
type place struct {
	topic     string
	partition int32
	offset    int64
}

func placeOf(r *stream.Record) place { return place{r.Topic, r.Partition, r.Offset} }

func (p place) String() string { return fmt.Sprintf("%s/%d@%d", p.topic, p.partition, p.offset) }

func parsePlace(s string) (place, error) {
	topic, rest, ok := strings.Cut(s, "/")
	number, at, ok2 := strings.Cut(rest, "@")
	partition, err := strconv.ParseInt(number, 10, 32)
	offset, err2 := strconv.ParseInt(at, 10, 64)
	if !ok || !ok2 || topic == "" || err != nil || err2 != nil || partition < 0 || offset < 0 {
		return place{}, usage("%q is no place; want TOPIC/PARTITION@OFFSET, as heed dead list prints it", s)
	}
	return place{topic, int32(partition), offset}, nil
}

// fetch reads the one record at a place.
func (p place) fetch(ctx context.Context, client *stream.Client) (stream.Record, error) {
	var found stream.Record
	ok := false
	_, err := client.Replay(ctx, p.topic, p.partition, p.offset, p.offset+1, func(records []stream.Record) error {
		for i := range records {
			if records[i].Offset == p.offset {
				found, ok = records[i].Clone(), true
			}
		}
		return nil
	})
	if err == nil && !ok {
		err = fmt.Errorf("there is no record at %s (any more)", p)
	}
	return found, err
}
