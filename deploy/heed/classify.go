package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/heedhq/heed/consent/intent"
	"github.com/heedhq/heed/schemas"
)

func classifyCommands() []command {
	return []command{{
		name: "classify", usage: "[--country CC] [--action A] TEXT... | -",
		short: "what consent reads out of a text: stop, start, help or none, and by which rule",
		help: `It is the consent stage's own reading: nothing is sent, nothing is written.

heed classify - reads JSON lines {"text":"...","country":"FR","provider_action":"generic"} and answers each with
one line {"action":"stop","rule":"R1","keyword":"stop","scope":{},"review":false}; a line that it can't read is
answered with "error".`,
		run: func(ctx context.Context, c *call) error { return c.classify(ctx) },
	}}
}

// classified is one answer of heed classify -.
type classified struct {
	Action  intent.Action `json:"action"`
	Rule    string        `json:"rule"`
	Keyword string        `json:"keyword"`
	Scope   intent.Scope  `json:"scope"`
	Review  bool          `json:"review"`
	Error   string        `json:"error,omitempty"`
}

func (c *call) classify(ctx context.Context) error {
	var in intent.Input
	c.flags.StringVar(&in.Country, "country", "", "of the person's number, two letters `CC`: which languages are looked at first")
	c.flags.Func("action", "what the provider made of it: start, stop, help or generic", func(s string) error { in.ProviderAction = schemas.ProviderAction(s); return nil })
	c.flags.BoolVar(&in.Suggestion, "suggestion", false, "the person tapped a suggestion or button")
	c.flags.StringVar(&in.Postback, "postback", "", "what the business bound to the suggestion")
	if err := c.parse(1, -1); err != nil {
		return err
	}
	if len(c.args) == 1 && c.args[0] == "-" {
		return classifyLines(ctx, c.in, c.out)
	}
	in.Text = strings.Join(c.args, " ")
	in.Country = strings.ToUpper(in.Country)
	d := intent.Classify(in)
	fmt.Fprintf(c.out, "%s", strings.ToUpper(string(d.Action)))
	if d.Rule != "" {
		fmt.Fprintf(c.out, " by rule %s", d.Rule)
	}
	if d.Keyword != "" {
		fmt.Fprintf(c.out, ", keyword %q", d.Keyword)
	}
	if d.Scope.Level != "" {
		fmt.Fprintf(c.out, ", scope %s %s", d.Scope.Level, d.Scope.Value)
	}
	if d.Review {
		fmt.Fprintf(c.out, "; somebody should look: it holds an opt-out word that no rule acted on")
	}
	fmt.Fprintf(c.out, "  (rules %s)\n", intent.Version())
	return nil
}

// classifyLines answers every line of in with one line, in order.
func classifyLines(ctx context.Context, in io.Reader, out io.Writer) error {
	r, w := bufio.NewReaderSize(in, 1<<20), bufio.NewWriterSize(out, 1<<20)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for ctx.Err() == nil {
		line, err := r.ReadBytes('\n')
		if line = bytes.TrimSpace(line); len(line) > 0 || err == nil {
			if e := enc.Encode(classifyLine(line)); e != nil {
				return e
			}
		}
		if r.Buffered() == 0 {
			if e := w.Flush(); e != nil {
				return e
			}
		}
		if errors.Is(err, io.EOF) {
			return w.Flush()
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(w.Flush(), ctx.Err())
}

func classifyLine(line []byte) classified {
	var q struct {
		Text           string                 `json:"text"`
		Country        string                 `json:"country"`
		ProviderAction schemas.ProviderAction `json:"provider_action"`
		Suggestion     bool                   `json:"suggestion"`
		Postback       string                 `json:"postback"`
	}
	if err := json.Unmarshal(line, &q); err != nil {
		return classified{Action: intent.None, Review: true, Error: "the line is not a question: " + err.Error()}
	}
	d := intent.Classify(intent.Input{Text: q.Text, Country: strings.ToUpper(q.Country), ProviderAction: q.ProviderAction, Suggestion: q.Suggestion, Postback: q.Postback})
	return classified{Action: d.Action, Rule: d.Rule, Keyword: d.Keyword, Scope: d.Scope, Review: d.Review}
}
