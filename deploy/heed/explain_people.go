package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/heedhq/heed/consent/intent"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/translate"
	"github.com/heedhq/heed/schemas"
)

func explainCommands() []command {
	return []command{
		{
			name: "explain", usage: "[--endpoints FILE] [--endpoint ID] [--provider NAME ...] FILE.http... | -",
			short: "what ingest and the normalizer make of a captured request",
			help: `FILE.http is a request as it came: request line, headers, empty line, body. That is the form of the golden
cases, of raw records and of dead letters (heed dead show prints it). What an endpoint is (provider, channel,
country, zone) comes from the endpoints file, by --endpoint or by the id in the request line; without a file
from --provider and its companions, or from a folder on the file's path that is called as a provider.

Nothing is sent and nothing is written. Signatures are not checked. Personal data in the file are shown.

heed explain - is the same for programs: JSON lines in, JSON lines out, one for one, in order (see the
contract); it ends with 0 whatever the lines hold.`,
			run: func(ctx context.Context, c *call) error { return c.explain(ctx) },
		},
	}
}

func (c *call) explain(ctx context.Context) error {
	file := c.flags.String("endpoints", c.getenv("HEED_ENDPOINTS_FILE"), "the endpoints `FILE`")
	id := c.flags.String("endpoint", "", "the endpoint's `ID` in that file, instead of the one in the request line")
	var o schemas.Origin
	c.flags.StringVar(&o.Provider, "provider", "", "without an endpoints file: the provider's `NAME`")
	c.flags.Func("channel", "without an endpoints file: sms, rcs, whatsapp, ...", func(s string) error { o.Channel = schemas.Channel(s); return nil })
	c.flags.Func("kind", "without an endpoints file: inbound, status or any", func(s string) error { o.Kind = schemas.EndpointKind(s); return nil })
	c.flags.StringVar(&o.Agent, "agent", "", "without an endpoints file: the business's agent, sender or number")
	c.flags.StringVar(&o.DefaultCountry, "country", "", "without an endpoints file: of numbers that name none, e.g. IN")
	c.flags.StringVar(&o.NaiveZone, "zone", "", "without an endpoints file: of times that name none, e.g. Asia/Kolkata")
	preset := c.flags.String("preset", "", "without an endpoints file: `NAME` of a mapping preset")
	received := c.flags.String("received", "", "when the request came, RFC 3339 (default: the file's time)")
	asJSON := c.flags.Bool("json", false, "print the events as structured CloudEvents")
	if err := c.parse(1, -1); err != nil {
		return err
	}
	if len(c.args) == 1 && c.args[0] == "-" {
		return explainLines(ctx, c.in, c.out, time.Now)
	}
	if *preset != "" {
		o.Mapping = &schemas.Mapping{Preset: *preset}
	}
	var known []schemas.Endpoint
	if *file != "" {
		data, err := os.ReadFile(*file)
		if err != nil {
			return err
		}
		if known, err = schemas.ParseEndpoints(data, endpointContext()); err != nil {
			return fmt.Errorf("%s:\n%w", *file, err)
		}
	}
	for i, path := range c.args {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		capture, err := schemas.ParseCapture(data)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		e, err := choose(known, *id, o, capture, path)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		at, err := receivedAt(*received, path)
		if err != nil {
			return err
		}
		if i > 0 {
			fmt.Fprintln(c.out)
		}
		tell(c.out, path, e, capture, at, explain(e.Origin, e.Answer, capture, at), *asJSON)
	}
	return nil
}

// endpointContext reads an endpoints file without its secrets.
func endpointContext() schemas.EndpointContext {
	return schemas.EndpointContext{Providers: providerNames(), Presets: presetsOf}
}

func receivedAt(given, path string) (time.Time, error) {
	if given != "" {
		at, err := time.Parse(time.RFC3339Nano, given)
		if err != nil {
			return at, usage("--received wants a time such as 2026-01-02T03:04:05Z")
		}
		return at, nil
	}
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime().UTC(), nil
}

// choose finds out by which endpoint a request came in.
func choose(known []schemas.Endpoint, id string, flags schemas.Origin, capture schemas.Capture, path string) (schemas.Endpoint, error) {
	if len(known) == 0 {
		if flags.Provider == "" {
			for _, folder := range strings.Split(filepath.ToSlash(path), "/") {
				if slices.Contains(providerNames(), folder) {
					flags.Provider = folder
				}
			}
		}
		if flags.Provider == "" {
			return schemas.Endpoint{}, fmt.Errorf("whose callback is it? Say --endpoints FILE, or --provider with one of %s", strings.Join(providerNames(), ", "))
		}
		return schemas.Endpoint{Origin: flags}, schemas.CheckZone(flags.NaiveZone)
	}
	if id == "" {
		at, _, _ := strings.Cut(capture.Target, "?")
		id = at[strings.LastIndexByte(at, '/')+1:]
	}
	i := slices.IndexFunc(known, func(e schemas.Endpoint) bool { return e.Endpoint == id })
	if i >= 0 {
		return known[i], nil
	}
	if len(known) == 1 {
		return known[0], nil
	}
	var ids []string
	for _, e := range known {
		ids = append(ids, e.Endpoint)
	}
	return schemas.Endpoint{}, fmt.Errorf("the endpoints file has no %q; say --endpoint with one of %s", id, strings.Join(ids, ", "))
}

// tell says what becomes of a request, for somebody on call.
func tell(w io.Writer, path string, e schemas.Endpoint, capture schemas.Capture, received time.Time, x explanation, asJSON bool) {
	content := capture.Get("Content-Type")
	if content == "" {
		content = "no content type"
	}
	at, _, _ := strings.Cut(capture.Target, "?")
	fmt.Fprintf(w, "%s\n  %s %s, %s, %s\n", path, capture.Method, at, content, size(len(capture.Body)))
	fmt.Fprintf(w, "  endpoint    %s\n", describe(e.Origin))
	topic := schemas.TopicCallbacks
	if e.Lane != "" {
		topic = e.Lane.Topic()
	}
	switch {
	case x.outcome == outcomeHandshake:
		fmt.Fprintf(w, "  ingest      sees a handshake (%s) and answers %d %q; nothing is written\n", x.handshake, x.answer.Status, x.answer.Body)
		return
	case x.answer.Status/100 != 2:
		fmt.Fprintf(w, "  ingest      refuses it with %d: %s\n", x.answer.Status, x.ignored)
		return
	}
	body := ""
	if x.answer.Body != "" {
		body = fmt.Sprintf(" %q", x.answer.Body)
	}
	fmt.Fprintf(w, "  ingest      writes it to %s and answers %d%s (signature not checked here)\n", topic, x.answer.Status, body)
	fmt.Fprintf(w, "  normalizer  %s\n", verdict(x))
	for i := range x.outs {
		out := &x.outs[i]
		fmt.Fprintf(w, "\n  %s -> %s\n", out.Kind, out.Topic)
		if asJSON {
			fmt.Fprintf(w, "    %s\n", structured(&out.Event))
			continue
		}
		tellEvent(w, out, received)
	}
	for _, f := range x.failures {
		where := "the whole callback"
		if f.Index != adapter.WholeCallback {
			where = fmt.Sprintf("item %d", f.Index)
		}
		fmt.Fprintf(w, "\n  dead letter -> %s\n    %s: %s\n    class %s; mend it and send it again with: heed dead replay\n", schemas.TopicCallbacksDead, where, f.Message, f.Class)
	}
}

func describe(o schemas.Origin) string {
	words := []string{"provider " + o.Provider}
	for _, w := range []struct{ name, value string }{
		{"channel", string(o.Channel)}, {"kind", string(o.Kind)}, {"tenant", o.Tenant}, {"brand", o.Brand}, {"agent", o.Agent},
		{"country", o.DefaultCountry}, {"zone", o.NaiveZone},
	} {
		if w.value != "" {
			words = append(words, w.name+" "+w.value)
		}
	}
	if o.Endpoint != "" {
		return o.Endpoint + " (" + strings.Join(words, ", ") + ")"
	}
	return strings.Join(words, ", ")
}

func verdict(x explanation) string {
	switch {
	case x.outcome == outcomeIgnored:
		return "makes nothing of it: " + x.ignored
	case len(x.outs) == 0:
		return "cannot read it; it goes to the dead letters, bytes untouched"
	}
	text := fmt.Sprintf("makes %d event%s", len(x.outs), plural(len(x.outs)))
	if n := len(x.failures); n > 0 {
		text += fmt.Sprintf(", and %d dead letter%s for what it cannot read", n, plural(n))
	}
	return text
}

func plural(n int) string {
	if n == 1 {
		return ""
	}
	return "s"
}

func size(n int) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}

// tellEvent says what an event says, a line per fact; what is absent is left out.
func tellEvent(w io.Writer, out *translate.Out, received time.Time) {
	var d schemas.Data
	if err := json.Unmarshal(out.Event.Data, &d); err != nil {
		fmt.Fprintf(w, "    data that are no JSON: %v\n", errors.Unwrap(err))
		return
	}
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "    %-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	line("id", "%s (source %s)", out.Event.ID, out.Event.Source)
	when := "as the provider says"
	if d.TimeSource == schemas.TimeReceived {
		when = "when it came, for the provider gives none"
	}
	switch d.TimeFlag {
	case "":
	case schemas.TimeOld, schemas.TimeFuture:
		when += fmt.Sprintf("; %s, for --received is %s", d.TimeFlag, stream.FormatTime(received))
	default:
		when += "; flagged " + string(d.TimeFlag)
	}
	line("time", "%s (%s)", stream.FormatTime(out.Event.Time), when)
	if u := d.User; u != nil {
		given := ""
		if u.Given != "" && u.Given != u.Address {
			given = fmt.Sprintf(", given as %q", string(u.Given))
		}
		line("user", "%s (%s%s)", string(u.Address), u.Kind, given)
		line("pseudonym", "%s (under the demo key; also the Kafka key)", out.Event.Subject)
	} else {
		line("user", "none: not given, or masked")
	}
	if d.Business != nil {
		line("business", "%s", d.Business.Address)
	}
	if d.MessageID != "" {
		line("message", "%q, the provider's id", d.MessageID)
	}
	if d.EventID != "" {
		line("event", "%q, the provider's id", d.EventID)
	}
	if c := d.Content; c != nil {
		tellContent(line, c)
	}
	if d.ProviderAction != "" {
		line("action", "%s, says the provider", d.ProviderAction)
	}
	if s := d.Status; s != nil {
		line("status", "%s: code %q %q", s.Meaning, s.Code, s.Description)
	}
	if c := d.Consent; c != nil {
		line("act", "%s, scope %s %q", c.Intent, c.Scope, c.Value)
	}
	if e := d.Evidence; e != nil {
		line("evidence", "the provider holds an opt-out of this person (code %s)", e.Code)
	}
	if c := d.Call; c != nil {
		line("call", "%s s, %s, recording %q", c.DurationSeconds, c.Direction, c.RecordingURL)
	}
	tellConsent(line, out, &d)
	if len(d.Repaired) > 0 {
		line("repaired", "%s", strings.Join(d.Repaired, ", "))
	}
	if len(d.ProviderData) > 0 {
		line("the rest", "%s", head(string(d.ProviderData), 300))
	}
}

// tellConsent says what the consent stage reads out of the event.
func tellConsent(line func(string, string, ...any), out *translate.Out, d *schemas.Data) {
	what, anonymous := "", "; but of nobody who is named, so somebody has to look"
	switch out.Kind {
	case schemas.MessageReceived:
		read := intent.Read(d, schemas.Channel(out.Event.Extension(schemas.ExtChannel)))
		switch {
		case read.Action == intent.None && read.Review:
			line("consent", "would have somebody look: it holds an opt-out word that no rule acts on")
			return
		case read.Action == intent.None:
			return
		}
		what = strings.ToUpper(string(read.Action)) + " by rule " + read.Rule
		if read.Keyword != "" {
			what += fmt.Sprintf(", keyword %q", read.Keyword)
		}
		if read.Action == intent.Help {
			anonymous = ""
		}
	case schemas.UserOptedOut:
		what = "STOP, for the provider says so"
	case schemas.UserOptedIn:
		what = "START, for the provider says so"
	default:
		return
	}
	if d.User != nil {
		anonymous = ""
	}
	line("consent", "reads %s%s", what, anonymous)
}

func tellContent(line func(string, string, ...any), c *schemas.Content) {
	line("content", "%s %q", c.Type, string(c.Text))
	if c.Postback != "" {
		line("postback", "%q", c.Postback)
	}
	if l := c.Location; l != nil {
		line("location", "%s, %s %s", l.Latitude, l.Longitude, string(l.Name))
	}
	for _, m := range c.Media {
		line("media", "%s %s %s", m.MIMEType, m.Name, m.URL)
	}
	if len(c.Detail) > 0 {
		line("detail", "%s", head(string(c.Detail), 300))
	}
}

func head(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + fmt.Sprintf("… (%d bytes; --json shows all)", len(s))
}
