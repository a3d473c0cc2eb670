package adapter

import (
	"net/mail"
	"strings"

	"github.com/heedhq/heed/schemas"
	"github.com/nyaruka/phonenumbers"
)

// Numbers is how a provider writes phone numbers.
type Numbers struct {
	Country  string // the endpoint's default_country, for numbers without a country code; may be empty
	National bool   // ten digits or fewer are a national number before they are an international one
	WhatsApp bool   // the addresses are WhatsApp ids
}

// User is the person behind an address, nil when there is none to be had: nothing given, or
// digits masked ("91767XXXXX"), which must never become somebody's address.
//
// The rule, in order:
//
//  1. X, x or * among digits: masked, no user. An e-mail address with a * or without its name: masked.
//  2. name@domain: e-mail, domain lower-cased.
//  3. "+" and digits: a phone, if that country has numbers of that length; else opaque.
//  4. digits alone: an international number if it is a valid one; else a valid number of the
//     endpoint's country; else an international number if it has 11 digits or more and the country
//     has numbers of that length (documents print numbers such as 11234567890, which nobody can
//     have); else opaque: short codes ("5678") and what may be any country's. Where a provider
//     writes national numbers (Numbers.National), the endpoint's country comes first for ten digits or
//     fewer and for a leading 0, and without such a country they stay opaque.
//  5. two capitals, a point, letters and digits ("US.1349120…"): a business-scoped user id of Meta.
//  6. everything else is opaque, as given.
//
// Phones come out in E.164, and each person in one form only: Brazilian mobiles with their ninth
// digit, Mexican numbers without the 1 of before 2019, Argentine WhatsApp ids with the 9 of mobiles.
func (w Numbers) User(given string) *schemas.User {
	given = strings.TrimSpace(given)
	if given == "" || len(given) > maxAddress || unreplaced(given) {
		return nil
	}
	bare := bareNumber(given)
	if masked(bare) {
		return nil
	}
	u := &schemas.User{Kind: schemas.UserOpaque, Address: schemas.Address(given)}
	if at := strings.LastIndexByte(given, '@'); at >= 0 {
		if strings.ContainsAny(given, "*[]") {
			return nil
		}
		if a, err := mail.ParseAddress(given); err == nil {
			at = strings.LastIndexByte(a.Address, '@')
			u.Kind, u.Address = schemas.UserEmail, schemas.Address(a.Address[:at]+strings.ToLower(a.Address[at:]))
		}
	} else if strings.HasPrefix(given, "[email") { // "[email protected]", as web pages mask addresses
		return nil
	} else if isBSUID(given) {
		u.Kind = schemas.UserBSUID
	} else if phone := w.phone(bare); phone != "" {
		u.Kind, u.Address = schemas.UserPhone, schemas.Address(phone)
	}
	if string(u.Address) != given {
		u.Given = schemas.Address(given)
	}
	return u
}

// TakeUser is the user behind the first of the named members that says something, which it takes
// unless it is masked: then it stays in provider_data.
func (n Node) TakeUser(w Numbers, names ...string) *schemas.User {
	m := n.First(names...)
	u := w.User(m.Text())
	if u != nil {
		m.Taken()
	}
	return u
}

// maxAddress is the longest e-mail address there is (RFC 5321 §4.5.3.1: 64 + 1 + 255).
const maxAddress = 320

// bareNumber is the address without the signs that people put between digits and without the
// scheme that some providers put before them.
func bareNumber(s string) string {
	if scheme, rest, ok := strings.Cut(s, ":"); ok && (strings.EqualFold(scheme, "whatsapp") || strings.EqualFold(scheme, "tel") || strings.EqualFold(scheme, "sms")) {
		s = rest
	}
	if !strings.ContainsAny(s, " -.()/\u00a0") {
		return s
	}
	return strings.NewReplacer(" ", "", "-", "", ".", "", "(", "", ")", "", "/", "", "\u00a0", "").Replace(s)
}

// masked says whether bare is a number of which digits were masked.
func masked(bare string) bool {
	bare = strings.TrimPrefix(bare, "+")
	return strings.ContainsAny(bare, "Xx*") && strings.Trim(bare, "0123456789Xx*#") == ""
}

func isBSUID(s string) bool {
	if len(s) < 8 || len(s) > 140 || s[2] != '.' || s[0] < 'A' || s[0] > 'Z' || s[1] < 'A' || s[1] > 'Z' {
		return false
	}
	digit := false
	for _, c := range []byte(s[3:]) {
		switch {
		case '0' <= c && c <= '9':
			digit = true
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '.':
		default:
			return false
		}
	}
	return digit
}

// phone is the E.164 form of bare, "" if it is none for certain.
func (w Numbers) phone(bare string) string {
	digits, plus := strings.CutPrefix(bare, "+")
	if digits == "" || strings.Trim(digits, "0123456789") != "" || len(digits) > 20 {
		return ""
	}
	if plus {
		number, _, possible := international(digits)
		if !possible {
			return ""
		}
		return w.oneForm(number)
	}
	if len(digits) < 7 {
		return "" // a short code, also where a country has subscriber numbers that short
	}
	if rest, ok := strings.CutPrefix(digits, "00"); ok {
		if number, valid, _ := international(rest); valid {
			return w.oneForm(number)
		}
	}
	if w.National && (len(digits) <= 10 || digits[0] == '0') {
		if number, ok := national(digits, w.Country); ok {
			return w.oneForm(number)
		}
		return ""
	}
	if w.american(digits) {
		return "+" + digits
	}
	number, valid, possible := international(digits)
	if valid {
		return w.oneForm(number)
	}
	if number, ok := national(digits, w.Country); ok {
		return w.oneForm(number)
	}
	if possible && len(digits) >= 11 {
		return w.oneForm(number)
	}
	return ""
}

// international reads digits that begin with a country code. A valid number is in use as far as
// libphonenumber knows; a possible one has a length that its country has.
func international(digits string) (number string, valid, possible bool) {
	if plain(digits) {
		return "+" + digits, true, true
	}
	if legacy(digits) {
		return "+" + digits, false, true
	}
	n, err := phonenumbers.Parse("+"+digits, "ZZ")
	if err != nil {
		return "+" + digits, false, false
	}
	valid = phonenumbers.IsValidNumber(n)
	possible = valid || phonenumbers.IsPossibleNumberWithReason(n) == phonenumbers.IS_POSSIBLE
	return phonenumbers.Format(n, phonenumbers.E164), valid, possible
}

func national(digits, country string) (number string, ok bool) {
	if country == "" {
		return "", false
	}
	n, err := phonenumbers.Parse(digits, strings.ToUpper(country))
	if err != nil || !phonenumbers.IsValidNumber(n) {
		return "", false
	}
	return phonenumbers.Format(n, phonenumbers.E164), true
}

// plain knows the numbers that most callbacks carry, Indian mobiles, without asking the library,
// which takes 20 µs a number. A test holds it against the library.
func plain(d string) bool {
	return len(d) == 12 && d[0] == '9' && d[1] == '1' && d[2] >= '6'
}

// american says whether digits can only be a number of North America for this endpoint: whether
// the library finds it valid or just possible, it ends as the same address.
func (w Numbers) american(d string) bool {
	return len(d) == 11 && d[0] == '1' && (w.Country == "" || strings.EqualFold(w.Country, "US") || strings.EqualFold(w.Country, "CA"))
}

// legacy says whether digits are a form that oneForm brings up to date and the library refuses.
func legacy(d string) bool {
	return len(d) == 13 && strings.HasPrefix(d, "521")
}

// oneForm gives a number that is written in more than one way its one form.
func (w Numbers) oneForm(number string) string {
	switch d := number[1:]; {
	case len(d) == 12 && strings.HasPrefix(d, "55") && d[4] >= '6': // Brazil: mobiles have had 9 digits since 2016
		return "+" + d[:4] + "9" + d[4:]
	case len(d) == 13 && strings.HasPrefix(d, "521"): // Mexico: the 1 of mobiles went in 2019
		return "+52" + d[3:]
	case w.WhatsApp && len(d) == 12 && strings.HasPrefix(d, "54") && d[2] != '9': // Argentina: mobiles have a 9
		return "+549" + d[2:]
	}
	return number
}
