// Package address brings an end user's address, however a provider or a caller wrote it, to
// the one form under which the person is known: E.164 with +, a lower-cased e-mail address, a
// business-scoped user id. The normalizer's adapters and the consent API call it, so that a
// STOP and a later check of the same person meet.
//
// It refuses masked and impossible numbers, and a number whose country it would have to guess.
//
// Invariant: it is pure, and Canonical of a canonical address gives that address.
package address

import (
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
	"golang.org/x/text/unicode/norm"

	"github.com/heedhq/heed/schemas"
)

// Canonical reads an address as a provider's callback gives it. country (ISO 3166-1 alpha-2) is
// where numbers that name no country are dialled from; "" says that numbers are written with
// their country code, with or without +. The user's Given is set where the provider wrote
// something else. It is false for what is masked, blank or no address: nobody can be named then.
func Canonical(raw, country string, channel schemas.Channel) (schemas.User, bool) {
	given := clean(raw)
	user, ok := schemas.User{}, false
	switch {
	case given == "":
	case strings.Contains(given, "@"):
		user.Kind = schemas.UserEmail
		user.Address, ok = email(given)
	case channel == schemas.WhatsApp && isBSUID(given):
		user.Kind, user.Address, ok = schemas.UserBSUID, schemas.Address(given), true
	default:
		user.Kind = schemas.UserPhone
		if channel == schemas.WhatsApp && !strings.HasPrefix(given, "0") {
			country = "" // a wa_id always carries its country code, which never begins with 0
		}
		user.Address, ok = phone(given, country)
	}
	if !ok {
		return schemas.User{}, false
	}
	if string(user.Address) != raw {
		user.Given = schemas.Address(raw)
	}
	return user, true
}

// Parse reads an address that a caller of ours names. It is stricter than Canonical: a phone
// number must begin with + (a national number that was taken for a foreign one would make the
// answer about somebody else). "bsuid:" and "opaque:" before an id say what it is.
func Parse(s string) (schemas.User, bool) {
	if id, ok := strings.CutPrefix(s, "opaque:"); ok {
		return schemas.User{Kind: schemas.UserOpaque, Address: schemas.Address(id)}, id != ""
	}
	if id, ok := strings.CutPrefix(s, "bsuid:"); ok {
		return schemas.User{Kind: schemas.UserBSUID, Address: schemas.Address(id)}, id != ""
	}
	given := clean(s)
	if !strings.HasPrefix(given, "+") && !strings.Contains(given, "@") {
		if !isBSUID(given) {
			return schemas.User{}, false
		}
		return schemas.User{Kind: schemas.UserBSUID, Address: schemas.Address(given)}, true
	}
	user, ok := Canonical(given, "", "")
	user.Given = ""
	return user, ok
}

// clean folds wide digits and signs, drops invisible characters and outer blanks, and the URI
// schemes that providers put in front.
func clean(raw string) string {
	if isDigits(strings.TrimPrefix(raw, "+")) {
		return raw // nearly all: nothing to fold
	}
	s := strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) || unicode.IsControl(r) {
			return -1
		}
		return r
	}, norm.NFKC.String(raw))
	s = strings.TrimSpace(s)
	for _, scheme := range []string{"tel:", "whatsapp:", "sms:", "mailto:"} {
		if len(s) > len(scheme) && strings.EqualFold(s[:len(scheme)], scheme) {
			s = strings.TrimSpace(s[len(scheme):])
		}
	}
	return s
}

// email lower-cases the whole address. RFC 5321 lets the local part depend on case; no mailbox
// provider of note does, and an opt-out must not hang on it.
func email(s string) (schemas.Address, bool) {
	local, domain, ok := strings.Cut(s, "@")
	if !ok || local == "" || domain == "" || strings.ContainsAny(s, " \t<>,;*\"[]") || strings.Contains(domain, "@") || len(s) > 254 {
		return "", false
	}
	return schemas.Address(strings.ToLower(s)), true
}

// isBSUID knows WhatsApp's business-scoped user ids: two letters of a country, a dot, and up to
// 128 letters or digits; a parent id has "ENT." before them.
func isBSUID(s string) bool {
	if len(s) < 4 || len(s) > 3+4+128 || s[2] != '.' || !upper(s[0]) || !upper(s[1]) {
		return false
	}
	id := strings.TrimPrefix(s[3:], "ENT.")
	for i := range len(id) {
		c := id[i]
		if !(upper(c) || 'a' <= c && c <= 'z' || '0' <= c && c <= '9') {
			return false
		}
	}
	return id != ""
}

func upper(c byte) bool { return 'A' <= c && c <= 'Z' }

// phone brings a number to E.164. Where a number names no country (no + and no 00):
//
//   - 12 digits or more that are as long as the numbers of the country they begin with carry their
//     country code: national numbers of that length are written with their 0, and the plans of
//     Germany and Austria would take nearly any (4915112345678 is no +494915112345678);
//   - at home (country known) a number that is in use there is national, else one that is in use
//     abroad carries its country code;
//   - 11 digits or more that no country has in use, but that are as long as the numbers of the
//     country they begin with, carry their country code: documents print such (11234567890);
//   - at home 8 digits or more of the right length are national (555-0123 and its like);
//   - anything else is no phone: a short code ("567890"), or ten digits that may be anybody's.
func phone(s, country string) (schemas.Address, bool) {
	digits, plus, ok := dialled(s)
	if !ok {
		return "", false
	}
	if indian(digits) && (plus || country == "" || strings.EqualFold(country, "IN")) ||
		american(digits) && (plus || country == "" || strings.EqualFold(country, "US") || strings.EqualFold(country, "CA")) {
		return schemas.Address("+" + digits), true
	}
	if plus {
		return e164(parse(digits, ""), possible)
	}
	var home, abroad *phonenumbers.PhoneNumber
	if len(digits) >= 12 {
		abroad = parse(digits, "")
		if a, ok := e164(abroad, possible); ok {
			return a, true
		}
	}
	if country != "" {
		home = parse(digits, country)
		if a, ok := e164(home, valid); ok {
			return a, true
		}
	}
	if abroad == nil { // most are national, and need no second reading
		abroad = parse(digits, "")
	}
	if a, ok := e164(abroad, valid); ok {
		return a, true
	}
	if len(digits) >= 11 {
		if a, ok := e164(abroad, possible); ok {
			return a, true
		}
	}
	if len(digits) >= 8 {
		return e164(home, possible)
	}
	return "", false
}

// indian and american know the numbers that most callbacks carry, with their country code,
// without asking the library: that takes 20 µs a number. A test holds them against the library.
func indian(digits string) bool {
	return len(digits) == 12 && digits[:2] == "91" && digits[2] >= '6'
}

func american(digits string) bool { return len(digits) == 11 && digits[0] == '1' }

// dialled keeps the digits of a number and says whether it names its country (+ or 00). Letters
// and stars mean a masked number.
func dialled(s string) (digits string, plus, ok bool) {
	if digits, plus = strings.CutPrefix(s, "+"); isDigits(digits) && (plus || !strings.HasPrefix(digits, "00")) {
		return digits, plus, len(digits) >= 6 && len(digits) <= 17 // nearly all: nothing to drop
	}
	plus = false
	var b strings.Builder
	for i, r := range s {
		switch {
		case '0' <= r && r <= '9': // nearly all
			b.WriteByte(byte(r))
		case unicode.Is(unicode.Nd, r):
			b.WriteByte(asciiDigit(r))
		case r == '+' && i == 0:
			plus = true
		case r == ' ' || r == '-' || r == '(' || r == ')' || r == '.' || r == '/' || unicode.Is(unicode.Pd, r):
		default:
			return "", false, false
		}
	}
	digits = b.String()
	if rest, international := strings.CutPrefix(digits, "00"); international && !plus {
		digits, plus = rest, true
	}
	return digits, plus, len(digits) >= 6 && len(digits) <= 17
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// asciiDigit is the digit that any script's decimal digit stands for: Unicode keeps each
// script's ten digits together, in order.
func asciiDigit(r rune) byte {
	n := byte(0)
	for low := r - 1; n < 9 && unicode.Is(unicode.Nd, low); low-- {
		n++
	}
	return '0' + n
}

// possible and valid are how sure the reading of a number must be: its length fits its country,
// or its range is in use there.
func possible(n *phonenumbers.PhoneNumber) bool {
	return phonenumbers.IsPossibleNumberWithReason(n) == phonenumbers.IS_POSSIBLE // not: possible inside a town
}
func valid(n *phonenumbers.PhoneNumber) bool {
	return possible(n) && phonenumbers.IsValidNumber(n) // the length first: it takes a fiftieth
}

// parse reads digits as dialled in country, or with their country code where that is "". nil is no
// number. It takes most of the time that a number costs (15 µs), so each reading is made once.
func parse(digits, country string) *phonenumbers.PhoneNumber {
	if country == "" {
		// WhatsApp's own forms first: libphonenumber's length check would refuse some of them.
		digits = "+" + oneForm(digits)
	}
	number, err := phonenumbers.Parse(digits, strings.ToUpper(country))
	if err != nil {
		return nil
	}
	return number
}

func e164(number *phonenumbers.PhoneNumber, sure func(*phonenumbers.PhoneNumber) bool) (schemas.Address, bool) {
	if number == nil || !sure(number) {
		return "", false
	}
	e := phonenumbers.Format(number, phonenumbers.E164)
	return schemas.Address("+" + oneForm(e[1:])), true
}

// oneForm gives one form to the numbers of the three countries where the same mobile phone is
// written in two ways, by WhatsApp and by others: Brazil (ninth digit), Mexico (the 1 that was
// dropped in 2019) and Argentina (the 9 of mobile phones called from abroad).
func oneForm(digits string) string {
	rest := func(prefix string, length int) string {
		if r, ok := strings.CutPrefix(digits, prefix); ok && len(r) == length {
			return r
		}
		return ""
	}
	if r := rest("55", 10); r != "" && r[2] >= '6' {
		return "55" + r[:2] + "9" + r[2:]
	}
	if r := rest("521", 10); r != "" {
		return "52" + r
	}
	if r := rest("54", 10); r != "" && r[0] != '9' {
		return "549" + r
	}
	return digits
}
