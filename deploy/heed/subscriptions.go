package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"text/tabwriter"
	"time"

	"github.com/heedhq/heed/schemas"
)

func subscriptionCommands() []command {
	return []command{
		{
			name: "subscriptions list", usage: "[--url BASE]",
			short: "every subscription and how it stands",
			help:  "Lag and age are those of the partitions that the answering dispatcher owns; heed lag reads all from Kafka.",
			run:   func(ctx context.Context, c *call) error { return c.subscriptionsList(ctx) },
		},
		{
			name: "subscriptions show", usage: "ID",
			short: "one subscription, without its secrets",
			run:   func(ctx context.Context, c *call) error { return c.subscriptionDo(ctx, http.MethodGet, "") },
		},
		{
			name: "subscriptions pause", usage: "ID",
			short: "stop delivering to a subscriber; its events wait on Kafka",
			run:   func(ctx context.Context, c *call) error { return c.subscriptionDo(ctx, http.MethodPost, "/pause") },
		},
		{
			name: "subscriptions resume", usage: "ID",
			short: "deliver again, from where it stopped; also after 410 Gone",
			run:   func(ctx context.Context, c *call) error { return c.subscriptionDo(ctx, http.MethodPost, "/resume") },
		},
		{
			name: "subscriptions attempts", usage: "ID [--limit N]",
			short: "the latest attempts to deliver to a subscriber, newest first",
			run:   func(ctx context.Context, c *call) error { return c.subscriptionAttempts(ctx) },
		},
	}
}

// subscription is what the dispatcher's API shows of one.
type subscription struct {
	ID     string   `json:"id"`
	Types  []string `json:"types"`
	Sink   string   `json:"sink"`
	Config struct {
		Mode     string `json:"mode"`
		Ordering string `json:"ordering"`
	} `json:"config"`
	Status schemas.SubscriptionStatus `json:"status"`
}

func (c *call) dispatcherAPI() (func(context.Context, string, string, any, any) error, *bool) {
	return c.apiFlags("http://127.0.0.1:8083")
}

func (c *call) subscriptionsList(ctx context.Context) error {
	ask, asJSON := c.dispatcherAPI()
	if err := c.parse(0, 0); err != nil {
		return err
	}
	var all struct {
		Subscriptions []subscription `json:"subscriptions"`
	}
	if err := ask(ctx, http.MethodGet, "/v1/subscriptions", nil, &all); err != nil || *asJSON {
		return err
	}
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tSTATE\tREASON\tLAG\tOLDEST\tSINK")
	for _, s := range all.Subscriptions {
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\n", s.ID, s.Status.State, s.Status.Reason, s.Status.Lag, since(s.Status.Oldest), s.Sink)
	}
	return table.Flush()
}

func since(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return time.Since(*t).Round(time.Second).String()
}

func (c *call) subscriptionDo(ctx context.Context, method, rest string) error {
	ask, asJSON := c.dispatcherAPI()
	if err := c.parse(1, 1); err != nil {
		return err
	}
	var raw json.RawMessage
	if err := ask(ctx, method, "/v1/subscriptions/"+url.PathEscape(c.args[0])+rest, nil, &raw); err != nil || *asJSON {
		return err
	}
	var s subscription
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s is %s", s.ID, s.Status.State)
	if s.Status.Reason != "" {
		fmt.Fprintf(c.out, " (%s)", s.Status.Reason)
	}
	fmt.Fprintf(c.out, "\n  sink    %s, %s, ordering %s\n  lag     %d, oldest %s\n", s.Sink, s.Config.Mode, s.Config.Ordering, s.Status.Lag, since(s.Status.Oldest))
	for _, t := range s.Types {
		fmt.Fprintf(c.out, "  type    %s\n", t)
	}
	return nil
}

func (c *call) subscriptionAttempts(ctx context.Context) error {
	limit := c.flags.Int("limit", 20, "at most `N`")
	ask, asJSON := c.dispatcherAPI()
	if err := c.parse(1, 1); err != nil {
		return err
	}
	var all struct {
		Attempts []schemas.DeliveryAttempt `json:"attempts"`
	}
	path := fmt.Sprintf("/v1/subscriptions/%s/attempts?limit=%d", url.PathEscape(c.args[0]), *limit)
	if err := ask(ctx, http.MethodGet, path, nil, &all); err != nil || *asJSON {
		return err
	}
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "STARTED\tTRY\tOUTCOME\tREASON\tTHEN\tSECONDS\tEVENT")
	for _, a := range all.Attempts {
		fmt.Fprintf(table, "%s\t%d\t%s\t%s\t%s\t%.3f\t%s %s\n", a.StartedAt.UTC().Format(time.RFC3339), a.Attempt, a.Outcome, a.Reason, a.Next, a.Duration, a.Event.Type, a.Event.ID)
	}
	return table.Flush()
}
