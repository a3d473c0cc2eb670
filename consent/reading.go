package consent

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/heedhq/heed/consent/intent"
	"github.com/heedhq/heed/consent/state"
	"github.com/heedhq/heed/internal/stream"
	"github.com/heedhq/heed/schemas"
)

// reader turns events into facts. It is pure: the same event gives the same fact.
type reader struct {
	directory  *directory
	pseudonyms *schemas.Pseudonymizer
	seals      *sealer
	stopBrand  bool // a plain STOP reaches the whole brand
}

// reading is what one event says about consent. At most one of fact, help and review is set.
type reading struct {
	fact     *schemas.Fact
	help     *schemas.HelpRequest
	review   *schemas.Review
	stranger bool // the event's subject is not the pseudonym that we make of the address
}

// act is an intent before it becomes a fact.
type act struct {
	act     schemas.Act
	scopes  []schemas.ConsentScope
	rule    string
	keyword string
	by      string
}

// read reads one event. appended is when the record was written to Kafka; it stands in for a
// receive time that the event does not name.
func (r *reader) read(e *stream.Event, appended time.Time) (reading, error) {
	kind, _ := schemas.KindOf(e.Type)
	if kind != schemas.MessageReceived && kind != schemas.UserOptedOut && kind != schemas.UserOptedIn {
		return reading{}, nil
	}
	var data schemas.Data
	if err := json.Unmarshal(e.Data, &data); err != nil {
		return reading{}, fmt.Errorf("the data of %s are not those of its kind", kind)
	}
	channel := schemas.Channel(e.Extension(schemas.ExtChannel))
	agent := ""
	if data.Business != nil {
		agent = strings.TrimSpace(data.Business.Address)
	}
	received, known := receipt(e, appended)
	cause := schemas.FactCause{
		Source: e.Source, ID: e.ID, Kind: kind, Provider: e.Extension(schemas.ExtProvider), Channel: channel,
		MessageID: data.MessageID, Time: e.Time.UTC(), ReceivedAt: received,
	}
	w := where{channel: channel, agent: agent, named: e.Extension(schemas.ExtBrand), directory: r.directory, stopBrand: r.stopBrand}

	var a act
	if kind == schemas.MessageReceived {
		d := intent.Read(&data, channel)
		cause.Rule, cause.Keyword, cause.Ruleset = d.Rule, d.Keyword, intent.Version()
		switch d.Action {
		case intent.Stop:
			a = act{act: schemas.ActStop, scopes: w.stop(d.Scope), rule: d.Rule, keyword: d.Keyword, by: "user"}
		case intent.Start:
			a = act{act: schemas.ActStart, scopes: w.start(d.Scope), rule: d.Rule, keyword: d.Keyword, by: "user"}
		case intent.Help:
			cause.By = "user"
			return reading{help: &schemas.HelpRequest{User: data.User, Business: data.Business, Keyword: d.Keyword, Cause: cause}}, nil
		default:
			if d.Review {
				cause.By = "user"
				return r.look(schemas.ReviewWords, &data, cause), nil
			}
			return reading{}, nil
		}
	} else {
		if data.Consent == nil {
			return reading{}, fmt.Errorf("%s without consent", kind)
		}
		a = w.provider(kind, data.Consent)
		cause.Rule = a.rule
	}
	cause.By = a.by
	switch {
	case data.User == nil || data.User.Address == "":
		return r.look(schemas.ReviewNoUser, &data, cause), nil
	case len(a.scopes) == 0:
		return r.look(schemas.ReviewNoAgent, &data, cause), nil
	}
	when := state.When{Act: a.act, Event: e.Time, Source: data.TimeSource, Flag: data.TimeFlag, Received: received}
	at, flags := when.Effective()
	if at.IsZero() {
		return r.look(schemas.ReviewNoTime, &data, cause), nil
	}
	if !known {
		flags = append(flags, "receipt_unknown")
	}
	cause.Flags = flags
	person := r.pseudonyms.Of(data.User.Kind, data.User.Address)
	f := &schemas.Fact{Person: person, Act: a.act, Scopes: a.scopes, At: at.UTC(), Cause: cause}
	var err error
	if f.Sealed, err = r.seals.seal(person, data.User); err != nil {
		return reading{}, err
	}
	stranger := e.Subject != "" && !slices.Contains(r.pseudonyms.All(data.User.Kind, data.User.Address), e.Subject)
	return reading{fact: f, stranger: stranger}, nil
}

func (r *reader) look(why schemas.ReviewReason, data *schemas.Data, cause schemas.FactCause) reading {
	return reading{review: &schemas.Review{User: data.User, Business: data.Business, Reason: why, Cause: cause}}
}

// receipt is when ingest had the callback: the event says so, else its time where that is the
// receive time; else the record's own time, which a re-run of the normalizer changes.
func receipt(e *stream.Event, appended time.Time) (at time.Time, known bool) {
	if t, err := time.Parse(time.RFC3339Nano, e.Extension(schemas.ExtRecordedTime)); err == nil {
		return t.UTC(), true
	}
	return appended.UTC(), false
}

// where is what an event says about who was written to.
type where struct {
	channel   schemas.Channel
	agent     string
	named     string // brand, as the event names it
	directory *directory
	stopBrand bool
}

func (w where) brand() string {
	if w.agent == "" {
		return w.named
	}
	return w.directory.brand(w.channel, w.agent, w.named)
}

// stop gives the scopes of a STOP. One whose agent is not known reaches further, never less far:
// the brand, or else everything on the channel.
func (w where) stop(s intent.Scope) []schemas.ConsentScope {
	category := ""
	if s.Level == schemas.ScopeCategory {
		category = strings.ToLower(s.Value)
	}
	brand := schemas.ConsentScope{Brand: w.brand(), Category: category}
	agent := schemas.ConsentScope{Brand: w.brand(), Agent: w.agent, Category: category}
	switch {
	case w.agent == "" && brand.Brand != "":
		return []schemas.ConsentScope{brand}
	case w.agent == "":
		return []schemas.ConsentScope{{Channel: w.channel, Category: category}}
	case s.Level == schemas.ScopeBrand:
		return []schemas.ConsentScope{brand, agent}
	case w.stopBrand:
		return []schemas.ConsentScope{agent, brand}
	}
	return []schemas.ConsentScope{agent}
}

// start gives the scopes of a START: consent is given to the brand (seeds), by way of the agent;
// on the channel as well, so that it lifts an earlier "everything on this channel".
func (w where) start(s intent.Scope) []schemas.ConsentScope {
	category := ""
	if s.Level == schemas.ScopeCategory {
		category = strings.ToLower(s.Value)
	}
	brand := w.brand()
	if brand == "" {
		return nil
	}
	scopes := []schemas.ConsentScope{{Brand: brand, Category: category}}
	if w.agent != "" {
		scopes = append(scopes, schemas.ConsentScope{Brand: brand, Agent: w.agent, Category: category})
	}
	if w.channel != "" {
		scopes = append(scopes, schemas.ConsentScope{Brand: brand, Channel: w.channel, Category: category})
	}
	return scopes
}

// provider gives the act of user.opted_out and user.opted_in. The event's kind is what counts;
// an intent inside that contradicts it is a STOP.
func (w where) provider(kind schemas.Kind, c *schemas.ConsentAct) act {
	a := act{act: schemas.ActStart, rule: "R0", by: "provider"}
	if kind == schemas.UserOptedOut || c.Intent == schemas.OptOut {
		a.act = schemas.ActStop
	}
	value := strings.TrimSpace(c.Value)
	if value == "*" {
		value = ""
	}
	plain := func(s intent.Scope) []schemas.ConsentScope {
		if a.act == schemas.ActStop {
			return w.stop(s)
		}
		return w.start(s)
	}
	wide := schemas.ConsentScope{Channel: w.channel}
	switch c.Scope {
	case schemas.ScopeAgent:
		if value != "" {
			w.agent = value
		}
		a.scopes = plain(intent.Scope{})
	case schemas.ScopeBrand:
		if value != "" && w.agent == "" {
			w.named = value
		}
		a.scopes = plain(intent.Scope{Level: schemas.ScopeBrand})
	case schemas.ScopeCategory:
		if value == "" {
			a.scopes = plain(intent.Scope{})
			break
		}
		a.scopes = plain(intent.Scope{Level: schemas.ScopeCategory, Value: value})
	case schemas.ScopeChannel:
		if named := schemas.Channel(strings.ToLower(value)); slices.Contains(schemas.Channels(), named) {
			wide.Channel = named
		}
		a.scopes = []schemas.ConsentScope{wide}
	default: // all, and what a newer normalizer may say: everything on the channel
		a.scopes = []schemas.ConsentScope{wide}
	}
	return a
}

// id names a fact: what it says and the event that showed it. The same event gives the same id.
func id(f *schemas.Fact) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%d\x00%s\x00%s", f.Person, f.Act, f.At.UnixMilli(), f.Cause.Source, f.Cause.ID)
	for _, s := range f.Scopes {
		k := state.KeyOf(s)
		h.Write(k[:])
	}
	return pseudonymAlphabet.EncodeToString(h.Sum(nil)[:16])
}

// stageSource is the CloudEvents source of everything that this stage writes.
const stageSource = "heed/consent"

// messages gives the fact as records: for heed.consent.facts, keyed by person and fact, so that
// compaction removes nothing but exact repeats; and for heed.consent.evidence, which is kept by
// time.
func messages(f *schemas.Fact, partition int32) (fact, evidence stream.Message, body []byte, err error) {
	if body, err = json.Marshal(f); err != nil {
		return fact, evidence, nil, err
	}
	name := id(f)
	e := stream.Event{
		ID: name, Source: stageSource, Type: schemas.ConsentFact.Type(), Subject: f.Person, Time: f.At,
		ContentType: "application/json", Data: body,
		Extensions: []stream.Extension{{Name: schemas.ExtPartitionKey, Value: f.Person}, {Name: schemas.ExtCausationID, Value: f.Cause.ID}},
	}
	fact = e.Message(schemas.TopicConsentFacts, []byte(f.Person+"/"+name))
	fact.To = stream.At(partition)
	return fact, e.Message(schemas.TopicConsentEvidence, []byte(f.Person)), body, nil
}

// factOf reads a record of heed.consent.facts; false for a tombstone and for kinds of later
// versions.
func factOf(rec *stream.Record) (placed, bool, error) {
	if rec.Value == nil || stream.EventType(rec) != schemas.ConsentFact.Type() {
		return placed{}, false, nil
	}
	p := placed{offset: rec.Offset, body: slices.Clone(rec.Value)}
	if err := json.Unmarshal(rec.Value, &p.fact); err != nil {
		return placed{}, false, fmt.Errorf("%s/%d, offset %d: not a fact", rec.Topic, rec.Partition, rec.Offset)
	}
	return p, true, nil
}
