package ingest

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/heedhq/heed/schemas"
)

// source is what ingest knows of a provider: where its bodies name the end user, so that one
// person's callbacks stand on one partition, and which mappings its customers may choose.
// Handshakes stand in package handshake; everything else is the normalizer's business.
type source struct {
	provider string
	inbound  []string // member names that may hold the user, best first
	status   []string // the same in receipts, where they differ; nil: as inbound
	receipt  []string // words that mark a receipt on an endpoint of kind "any"
	envelope string   // member whose base64 value is the real body
	presets  []string // mapping presets; nil: the bodies are the provider's own
}

// sources has one row per provider. A test in deploy/allinone holds it against the adapters.
func sources() []source {
	return []source{
		{
			provider: "exotel",
			inbound:  []string{"from", "From", "CallFrom"},
			status:   []string{"to", "To"},
			receipt:  []string{`"dlr"`, `message_status"`, `message-status"`, "exo_status_code", "DetailedStatus"},
		},
		{
			provider: "google-rbm",
			inbound:  []string{"senderPhoneNumber"},
			envelope: "data",
		},
		{
			// In receipts, too, from is the handset (facts: Kaleyra RCS DR).
			provider: "kaleyra",
			inbound:  []string{"wa_id", "from", "recipient_id", "mobile", "source", "recipient"},
			presets:  []string{"failover", "fallback-flow", "quality", "rcs", "sms-dlr", "sms-mo", "template", "whatsapp-message", "whatsapp-status"},
		},
		{
			provider: "meta",
			inbound:  []string{"wa_id", "from", "recipient_id"},
		},
		{
			// recipient.from is the sender of a message, payload.to of a status its receiver.
			provider: "mobtexting",
			inbound:  []string{"from", "mobile", "mobile_number", "receiver", "identity"},
			status:   []string{"to", "mobile", "mobile_number", "receiver"},
			receipt:  []string{`:status"`},
			presets:  []string{"compose-chat", "compose-sms", "compose-url", "compose-vmn", "compose-voice", "push-dlr"},
		},
		{
			provider: "telesign",
			inbound:  []string{"phone_number", "email"},
		},
	}
}

func sourceOf(provider string) source {
	all := sources()
	if i := slices.IndexFunc(all, func(s source) bool { return s.provider == provider }); i >= 0 {
		return all[i]
	}
	return source{provider: provider}
}

// Providers lists the providers that an endpoint may name.
func Providers() []string {
	var names []string
	for _, s := range sources() {
		names = append(names, s.provider)
	}
	return names
}

// Presets lists the mapping presets of a provider.
func Presets(provider string) []string { return sourceOf(provider).presets }

// peekBytes bounds how far into a body the user is looked for: every documented body names the
// user within the first 2 KiB, most within 300 bytes.
const peekBytes = 4 << 10

// user finds who a callback is about, by looking for a few names in its first bytes. It never
// parses: it only decides on which partition the callback waits, and the same bytes always give
// the same answer. "" when nobody is found.
func (s *source) user(kind schemas.EndpointKind, query string, body []byte) (schemas.UserKind, schemas.Address) {
	head := body[:min(len(body), peekBytes)]
	if s.envelope != "" {
		head = unwrap(head, s.envelope)
	}
	names := s.inbound
	if s.status != nil && (kind == schemas.EndpointStatus || kind != schemas.EndpointInbound && s.isReceipt(head)) {
		names = s.status
	}
	for _, name := range names {
		for _, value := range [...]string{memberValue(head, name), formValue(query, name), formValue(textOf(head), name), partValue(head, name)} {
			if kind, address := person(value); address != "" {
				return kind, address
			}
		}
	}
	return "", ""
}

func (s *source) isReceipt(head []byte) bool {
	return slices.ContainsFunc(s.receipt, func(word string) bool { return bytes.Contains(head, []byte(word)) })
}

// textOf avoids the conversion for JSON, which is nearly everything.
func textOf(head []byte) string {
	if len(head) == 0 || head[0] == '{' || head[0] == '[' || head[0] == '-' {
		return ""
	}
	return string(head)
}

// person says what an address is that a peek found: a number of 7 to 15 digits (E.164), written
// with or without +, or an e-mail address. Anything else is no person.
func person(value string) (schemas.UserKind, schemas.Address) {
	if at := strings.IndexByte(value, '@'); at > 0 && at < len(value)-1 && len(value) <= 254 {
		return schemas.UserEmail, schemas.Address(strings.ToLower(value))
	}
	digits := strings.TrimPrefix(strings.TrimPrefix(value, "whatsapp:"), "+")
	if len(digits) < 7 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
		return "", ""
	}
	return schemas.UserPhone, schemas.Address("+" + digits)
}

// memberValue finds the first `"name": value` of a JSON text, value being a string without
// escapes or a number. Inside a string the quotes would be escaped, so a user who writes such
// words isn't taken for a member.
func memberValue(head []byte, name string) string {
	for at := 0; ; {
		i := bytes.Index(head[at:], []byte(name))
		if i < 0 {
			return ""
		}
		start, end := at+i, at+i+len(name)
		at = end
		if start == 0 || head[start-1] != '"' || end >= len(head) || head[end] != '"' {
			continue
		}
		rest := bytes.TrimLeft(head[end+1:], " \t\r\n")
		if len(rest) == 0 || rest[0] != ':' {
			continue
		}
		rest = bytes.TrimLeft(rest[1:], " \t\r\n")
		if len(rest) == 0 {
			return ""
		}
		if rest[0] == '"' {
			if end := bytes.IndexAny(rest[1:], `"\`); end >= 0 && rest[1+end] == '"' {
				return string(bytes.TrimSpace(rest[1 : 1+end]))
			}
			continue
		}
		n := 0
		for n < len(rest) && rest[n] >= '0' && rest[n] <= '9' {
			n++
		}
		if n > 0 && n < len(rest) {
			return string(rest[:n])
		}
	}
}

// formValue finds a field of a query or form.
func formValue(form, name string) string {
	for len(form) > 0 {
		var field string
		field, form, _ = strings.Cut(form, "&")
		if value, ok := strings.CutPrefix(field, name); ok && strings.HasPrefix(value, "=") {
			value = strings.TrimPrefix(value[1:], "%2B")
			return strings.TrimPrefix(strings.ReplaceAll(value, "%40", "@"), "+")
		}
	}
	return ""
}

// partValue finds a field of a multipart form.
func partValue(head []byte, name string) string {
	if !bytes.HasPrefix(head, []byte("--")) {
		return ""
	}
	_, rest, ok := bytes.Cut(head, []byte(`name="`+name+`"`))
	if !ok {
		return ""
	}
	if _, rest, ok = bytes.Cut(rest, []byte("\r\n\r\n")); !ok {
		return ""
	}
	value, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return string(value)
}

// unwrap decodes the beginning of the base64 value of a member: Google's envelope.
func unwrap(head []byte, member string) []byte {
	value := memberValue(append(head[:len(head):len(head)], '"'), member) // the cut may have taken the closing quote
	out := make([]byte, base64.StdEncoding.DecodedLen(len(value)))
	n, _ := base64.StdEncoding.Decode(out, []byte(value[:len(value)/4*4]))
	return out[:n]
}
