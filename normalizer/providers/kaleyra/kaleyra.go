// Package kaleyra understands the callbacks of Kaleyra (Tata Communications): RCS in two
// generations, SMS, WhatsApp in three, failover and fallback flows, template and quality notices.
// It tells them apart by their shape, since customers compose most bodies themselves and the URL
// is all that is sure; README.md says where each shape is documented.
//
// Refuses: encrypted values (turn callback encryption off), and JSON that Kaleyra's templates
// broke beyond the narrow repair. Used by the normalizer and the operator's tool.
//
// Invariant: a shape that it does not know becomes an event that keeps everything.
package kaleyra

import (
	_ "embed"
	"iter"
	"strings"

	"github.com/heedhq/heed/normalizer/adapter"
	"github.com/heedhq/heed/normalizer/adapter/whatsapp"
	"github.com/heedhq/heed/schemas"
)

// Name is what endpoints call the provider.
const Name = "kaleyra"

//go:embed sms.tsv
var smsTable string

//go:embed whatsapp.tsv
var whatsAppTable string

//go:embed rcs.tsv
var rcsTable string

//go:embed failover.tsv
var failoverTable string

// Kaleyra is the adapter.
type Kaleyra struct {
	sms, whatsApp, rcs, failoverStates adapter.Codes
	meta                               *whatsapp.Reader
}

// New makes the adapter.
func New() *Kaleyra {
	return &Kaleyra{adapter.MustCodes(smsTable), adapter.MustCodes(whatsAppTable), adapter.MustCodes(rcsTable), adapter.MustCodes(failoverTable), whatsapp.New()}
}

// Provider is Name.
func (*Kaleyra) Provider() string { return Name }

// callback is one callback while it is read.
type callback struct {
	*Kaleyra
	raw adapter.Raw
	v   *adapter.View
	res adapter.Result

	tooMany bool // more items than a callback may hold
}

// Adapt reads a callback.
func (k *Kaleyra) Adapt(raw adapter.Raw) adapter.Result {
	v, failure := adapter.Read(raw)
	if failure != nil {
		return adapter.Result{Failures: []adapter.Failure{*failure}}
	}
	c := callback{Kaleyra: k, raw: raw, v: v, res: adapter.Result{Items: raw.Items()}}
	objects := v.Root().Items()
	if len(objects) > adapter.MaxItems {
		return adapter.Result{Failures: []adapter.Failure{adapter.TooMany()}}
	}
	for _, n := range objects {
		if !n.IsObject() {
			index := c.next()
			if len(objects) == 1 {
				index = adapter.WholeCallback
			}
			c.fail(index, adapter.Malformed, "an object was expected: the callback is another JSON value")
			continue
		}
		c.object(n)
		if c.next() > adapter.MaxItems || c.tooMany {
			return adapter.Result{Failures: []adapter.Failure{adapter.TooMany()}}
		}
	}
	if len(c.res.Items) == 0 && len(c.res.Failures) == 0 && c.res.Ignored == "" {
		c.fail(adapter.WholeCallback, adapter.Empty, "the callback is an empty list or object")
	}
	return c.res
}

// next is the index of the next item.
func (c *callback) next() int { return len(c.res.Items) + len(c.res.Failures) }

func (c *callback) fail(index int, class adapter.Class, message string) {
	c.res.Failures = append(c.res.Failures, adapter.Failure{Index: index, Class: class, Message: message})
}

func (c *callback) add(it adapter.Item, n adapter.Node) {
	it.Index = c.next()
	c.v.Finish(&it, n)
	c.res.Items = append(c.res.Items, it)
}

// object tells by its members what one callback object is. The order matters: what is surest first.
func (c *callback) object(n adapter.Node) {
	has := func(name string) bool { return n.Get(name).Present() }
	event, inside := n.Get(typeName).Text(), n.Get("data")
	switch {
	case !anything(n):
		if n.Says() {
			c.res.Ignored = "every variable of the callback profile was left unreplaced"
		}
	case !plain(n.Get(typeName)) && encrypted(n, plainWords(n)) || inside.IsObject() && !plain(inside.Get(typeName)) && encrypted(inside, plainWords(inside)):
		c.encrypted(n)
	case c.mapped(n):
	case n.Get(metaObject).IsObject():
		c.whatsAppV2(n)
	case n.Get("entry").IsArray():
		c.metaEntries(n)
	case n.Get("messages").IsArray() || n.Get("statuses").IsArray():
		c.metaChange(n, nil)
	case inside.Get(typeName).Says() || inside.IsObject() && n.Get("code").Says():
		c.rcsEnveloped(n)
	case has("userMessage") || rcsType(event) || has("sentAt") && has("messageId"):
		c.rcsEvent(n, adapter.Node{})
	case has("workflowevent") || has("workflowInvocationId") || has("executionStatus") || n.Get("result", "channel1").Present():
		c.fallbackFlow(n)
	case has("failover_id") || has("channel_status_id") || has("delivered") && (has("kid") || has("config_id")):
		c.failover(n)
	case isTemplate(n):
		c.template(n)
	case has("current_limit") || has("display_phone_number") && has("event"):
		c.quality(n)
	case c.isWhatsAppV1Message(n):
		c.whatsAppV1Message(n)
	case c.isSMSMessage(n):
		c.smsMessage(n)
	case n.First("status", "status_trace", "error_code").Says():
		c.flatStatus(n)
	default:
		c.unknown(n)
	}
}

// indexOr is the index for a failure of n: the whole callback unless n is one of many.
func (c *callback) indexOr(n adapter.Node) int {
	if c.v.Root() == n {
		return adapter.WholeCallback
	}
	return c.next()
}

// unknown keeps a callback of a shape that nobody documented.
func (c *callback) unknown(n adapter.Node) {
	it := adapter.Item{Kind: schemas.MessageReceived}
	it.Data.MessageID = n.Take("messageId", "message_id", "id")
	it.Data.EventID = n.Take("eventId", "event_id")
	if c.raw.Origin.Kind == schemas.EndpointStatus {
		it.Kind = schemas.MessageStatusUnknown
		it.Data.Status = &schemas.Status{Meaning: schemas.MeaningUnknown}
	} else {
		it.Data.Content = &schemas.Content{Type: schemas.ContentUnsupported}
	}
	c.add(it, n)
}

// anything says whether some value of the object says something: a profile that is tried out
// arrives with its variables as they are.
func anything(n adapter.Node) bool {
	for _, m := range n.Members() {
		if m.Says() {
			return true
		}
	}
	return false
}

func (c *callback) encrypted(n adapter.Node) {
	c.fail(c.indexOr(n), adapter.Encrypted, "the values are encrypted: turn encryption off in Kaleyra's callback profile; Heed's endpoint is protected by TLS")
}

// encrypted says whether the values are ciphertext. Kaleyra encrypts value by value (AES in GCM
// or CFB mode) and leaves the names: then a word that can only be one of a few (a type, a status)
// or a number is long base64 or hex, none of them is plain, and another member is ciphertext too.
func encrypted(n adapter.Node, words iter.Seq[adapter.Node]) bool {
	found := 0
	for m := range words {
		if plain(m) {
			return false
		}
		if m.Says() {
			found++
		}
	}
	all := 0
	for _, m := range n.Members() {
		if m.IsString() && ciphertext(m.Text()) {
			all++
		}
	}
	return found > 0 && max(found, all) >= 2
}

// plainWords are the values of a documented shape that are words or numbers, whoever sends them.
func plainWords(n adapter.Node) iter.Seq[adapter.Node] {
	return func(yield func(adapter.Node) bool) {
		for _, name := range [...]string{typeName, "status", "mobile", "from", "source", "recipient", "created_at", "timestamp", "sentAt", "wanumber", "delivered", "channel"} {
			if !yield(n.Get(name)) {
				return
			}
		}
	}
}

// plain says that a value says something, and is no ciphertext.
func plain(m adapter.Node) bool { return m.Says() && !(m.IsString() && ciphertext(m.Text())) }

// ciphertext says whether s looks like an encrypted word: base64 or hex of 16 bytes or more, and
// neither a number nor words. A query makes blanks of the + of base64.
func ciphertext(s string) bool {
	if len(s) < 22 {
		return false
	}
	s = strings.ReplaceAll(s, " ", "+")
	if strings.Trim(s, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/=_-") != "" {
		return false
	}
	upper, lower, digit := false, false, false
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
			digit = true
		case 'a' <= c && c <= 'z':
			lower = true
		case 'A' <= c && c <= 'Z':
			upper = true
		}
	}
	hex := strings.Trim(s, "0123456789abcdefABCDEF") == "" && len(s)%2 == 0 && len(s) >= 32
	return digit && (upper && lower || hex)
}

// takeVariable is the text of the first variable that says something, as the person wrote it: a
// variable's name in brackets is no text, but a user may well write "<stop>".
func takeVariable(variables ...adapter.Node) schemas.Text {
	for _, m := range variables {
		if s := m.Verbatim(); s != "" && !isVariable(strings.TrimSpace(s)) {
			return schemas.Text(m.Taken().Verbatim())
		}
	}
	return ""
}

// taken is the text of a value, which is taken if it has one.
func taken(n adapter.Node) string {
	s := n.Text()
	if s != "" {
		n.Taken()
	}
	return s
}

// fold compares the words of types and states.
func fold(s string) string { return adapter.FoldCode(s) }
