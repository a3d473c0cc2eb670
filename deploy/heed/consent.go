package main

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/heedhq/heed/schemas"
)

func consentCommands() []command {
	return []command{
		{
			name: "consent check", usage: "USER [--channel C] [--agent A] [--brand B] [--category C]",
			short: "may this message be sent? exit 0 allow, 1 deny",
			help:  "USER is a number in E.164 with +, an e-mail address, bsuid:ID or opaque:ID. The API is HEED_CONSENT_URL's.",
			run:   func(ctx context.Context, c *call) error { return c.consentCheck(ctx) },
		},
		{
			name: "consent show", usage: "USER",
			short: "what is held of a person: every scope with its latest stop and start",
			run:   func(ctx context.Context, c *call) error { return c.consentShow(ctx) },
		},
		{
			name: "consent history", usage: "USER",
			short: "every act of a person, where it came from and by which rule",
			run:   func(ctx context.Context, c *call) error { return c.consentHistory(ctx) },
		},
		{
			name: "consent record", usage: "USER stop|start [--agent A] [--brand B] [--channel C] [--category C] --evidence TEXT",
			short: "write down that a person asked to stop, or to start, in another way",
			help: `By phone, by letter, on a form. It goes through the same log as every other act and cannot be taken back,
only followed by another. Without a scope a stop is for everything; a start names an agent or a brand, and
needs --evidence: how and when the person asked.`,
			run: func(ctx context.Context, c *call) error { return c.consentRecord(ctx) },
		},
	}
}

func (c *call) consentAPI() (func(context.Context, string, string, any, any) error, *bool) {
	return c.apiFlags(cmp.Or(c.getenv("HEED_CONSENT_URL"), "http://127.0.0.1:8082"))
}

func userPath(user, rest string) string { return "/v1/consent/" + url.PathEscape(user) + rest }

func (c *call) consentCheck(ctx context.Context) error {
	var check schemas.Check
	c.flags.Func("channel", "the message's channel", func(s string) error { check.Channel = schemas.Channel(s); return nil })
	c.flags.StringVar(&check.Agent, "agent", "", "who sends: agent, sender id or number")
	c.flags.StringVar(&check.Brand, "brand", "", "the business")
	c.flags.StringVar(&check.Category, "category", "", "such as marketing")
	ask, asJSON := c.consentAPI()
	if err := c.parse(1, 1); err != nil {
		return err
	}
	check.User = schemas.Address(c.args[0])
	var answer schemas.CheckResponse
	if err := ask(ctx, http.MethodPost, "/v1/consent/check", schemas.CheckRequest{Checks: []schemas.Check{check}}, &answer); err != nil {
		return err
	}
	if len(answer.Results) != 1 {
		return fmt.Errorf("the API gave %d results for one check", len(answer.Results))
	}
	r := answer.Results[0]
	if !*asJSON {
		fmt.Fprintf(c.out, "%s: %s", strings.ToUpper(string(r.Decision)), r.Reason)
		if r.Scope != nil {
			fmt.Fprintf(c.out, ", %s %s", r.Scope.Level, r.Scope.Value)
		}
		if r.Since != nil {
			fmt.Fprintf(c.out, ", since %s", moment(r.Since))
		}
		if r.Retryable {
			fmt.Fprintf(c.out, "; says nothing about the person: ask again soon")
		}
		fmt.Fprintf(c.out, "\nas of %s\n", moment(answer.AsOf))
	}
	if r.Decision != schemas.Allow {
		return errQuiet
	}
	return nil
}

func (c *call) consentShow(ctx context.Context) error {
	ask, asJSON := c.consentAPI()
	if err := c.parse(1, 1); err != nil {
		return err
	}
	var s schemas.ConsentStatus
	if err := ask(ctx, http.MethodGet, userPath(c.args[0], ""), nil, &s); err != nil || *asJSON {
		return err
	}
	fmt.Fprintf(c.out, "person %s, as of %s\n", s.Person, moment(s.AsOf))
	if len(s.Registers) == 0 {
		fmt.Fprintln(c.out, "nothing is held: no stop and no start")
		return nil
	}
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "SCOPE\tSTATE\tLATEST STOP\tLATEST START")
	for _, r := range s.Registers {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", scopeWords(r.Scope), r.State, moment(r.Stop), moment(r.Start))
	}
	return table.Flush()
}

func (c *call) consentHistory(ctx context.Context) error {
	ask, asJSON := c.consentAPI()
	if err := c.parse(1, 1); err != nil {
		return err
	}
	var h schemas.ConsentHistory
	if err := ask(ctx, http.MethodGet, userPath(c.args[0], "/history"), nil, &h); err != nil || *asJSON {
		return err
	}
	if len(h.Facts) == 0 {
		fmt.Fprintln(c.out, "no acts")
	}
	for _, f := range h.Facts {
		var scopes []string
		for _, s := range f.Scopes {
			scopes = append(scopes, scopeWords(s))
		}
		fmt.Fprintf(c.out, "%s  %s  %s\n", f.At.UTC().Format(time.RFC3339), strings.ToUpper(string(f.Act)), strings.Join(scopes, "; "))
		why := []string{"by " + f.Cause.By}
		for _, w := range []struct{ name, value string }{
			{"", f.Cause.Actor}, {"rule ", f.Cause.Rule}, {"keyword ", f.Cause.Keyword}, {"", f.Cause.Provider}, {"", string(f.Cause.Channel)},
			{"message ", f.Cause.MessageID}, {"rules ", f.Cause.Ruleset}, {"evidence: ", f.Cause.Note},
		} {
			if w.value != "" {
				why = append(why, w.name+w.value)
			}
		}
		fmt.Fprintf(c.out, "    %s; event %s of %s\n", strings.Join(why, ", "), f.Cause.ID, f.Cause.Source)
	}
	return nil
}

func (c *call) consentRecord(ctx context.Context) error {
	var o schemas.ConsentOrder
	c.flags.Func("channel", "only for this channel", func(s string) error { o.Channel = schemas.Channel(s); return nil })
	c.flags.StringVar(&o.Agent, "agent", "", "only for this agent, sender id or number")
	c.flags.StringVar(&o.Brand, "brand", "", "only for this business")
	c.flags.StringVar(&o.Category, "category", "", "only for this category")
	c.flags.StringVar(&o.Evidence, "evidence", "", "how and when the person asked; nothing personal")
	c.flags.Func("at", "when the person said so, RFC 3339 (default: now)", func(s string) error {
		at, err := time.Parse(time.RFC3339Nano, s)
		o.At = &at
		return err
	})
	ask, asJSON := c.consentAPI()
	if err := c.parse(2, 2); err != nil {
		return err
	}
	o.User, o.Act = schemas.Address(c.args[0]), schemas.Act(c.args[1])
	if o.Act != schemas.ActStop && o.Act != schemas.ActStart {
		return usage("say stop or start, not %q", c.args[1])
	}
	var receipt schemas.ConsentReceipt
	if err := ask(ctx, http.MethodPost, "/v1/consent", o, &receipt); err != nil || *asJSON {
		return err
	}
	state := "it is in force"
	if !receipt.Applied {
		state = "it will be in force when the view is whole again; until then every check is denied"
	}
	fmt.Fprintf(c.out, "written: %s at %s; %s\n", receipt.Fact.Act, receipt.Fact.At.UTC().Format(time.RFC3339), state)
	return nil
}
