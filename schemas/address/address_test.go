package address

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/heedhq/heed/schemas"
)

func TestCanonical(t *testing.T) {
	for _, c := range []struct {
		name, raw, country string
		channel            schemas.Channel
		want               schemas.User
	}{
		{"E.164 stays", "+14155550123", "", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+14155550123"}},
		{"country code without +", "919999912345", "", schemas.RCS, schemas.User{Kind: schemas.UserPhone, Address: "+919999912345", Given: "919999912345"}},
		{"country code without +, country known", "919999912345", "IN", schemas.RCS, schemas.User{Kind: schemas.UserPhone, Address: "+919999912345", Given: "919999912345"}},
		{"national", "9999912345", "IN", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+919999912345", Given: "9999912345"}},
		{"national with trunk 0", "09999912345", "IN", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+919999912345", Given: "09999912345"}},
		{"national with trunk 0, in WhatsApp", "09999912345", "IN", schemas.WhatsApp, schemas.User{Kind: schemas.UserPhone, Address: "+919999912345", Given: "09999912345"}},
		{"country code without +, in WhatsApp", "6581234567", "IN", schemas.WhatsApp, schemas.User{Kind: schemas.UserPhone, Address: "+6581234567", Given: "6581234567"}},
		{"foreign number at a national endpoint", "14155550123", "IN", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+14155550123", Given: "14155550123"}},
		{"documentation number out of range", "11234567890", "", schemas.RCS, schemas.User{Kind: schemas.UserPhone, Address: "+11234567890", Given: "11234567890"}},
		{"national, right length, not in use", "5551234567", "US", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+15551234567", Given: "5551234567"}},
		{"Chinese mobile at home, not American", "13812345678", "CN", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+8613812345678", Given: "13812345678"}},
		{"country code without +, at a home whose plan would take it", "4915112345678", "DE", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+4915112345678", Given: "4915112345678"}},
		{"foreign number where the plan would take it", "919812345670", "DE", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+919812345670", Given: "919812345670"}},
		{"out of use abroad where the plan would take it", "447700900123", "AT", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+447700900123", Given: "447700900123"}},
		{"national, variable length", "015112345678", "DE", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+4915112345678", Given: "015112345678"}},
		{"national without its 0, variable length", "15112345678", "DE", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+4915112345678", Given: "15112345678"}},
		{"punctuation", "+1 (415) 555-0123", "", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+14155550123", Given: "+1 (415) 555-0123"}},
		{"00 prefix", "00491711234567", "FR", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+491711234567", Given: "00491711234567"}},
		{"wide digits", "＋１４１５５５５０１２３", "", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+14155550123", Given: "＋１４１５５５５０１２３"}},
		{"Arabic digits", "+٩٧١٥٠١٢٣٤٥٦٧", "", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+971501234567", Given: "+٩٧١٥٠١٢٣٤٥٦٧"}},
		{"scheme", "whatsapp:+14155550123", "", schemas.WhatsApp, schemas.User{Kind: schemas.UserPhone, Address: "+14155550123", Given: "whatsapp:+14155550123"}},
		{"Brazil without ninth digit", "551187654321", "", schemas.WhatsApp, schemas.User{Kind: schemas.UserPhone, Address: "+5511987654321", Given: "551187654321"}},
		{"Brazil with ninth digit", "+5511987654321", "", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+5511987654321"}},
		{"Brazil, fixed line", "+551133334444", "", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+551133334444"}},
		{"Mexico with 1", "5215512345678", "", schemas.WhatsApp, schemas.User{Kind: schemas.UserPhone, Address: "+525512345678", Given: "5215512345678"}},
		{"Mexico without 1", "+525512345678", "", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+525512345678"}},
		{"Argentina with 9", "5491123456789", "", schemas.WhatsApp, schemas.User{Kind: schemas.UserPhone, Address: "+5491123456789", Given: "5491123456789"}},
		{"Argentina without 9", "+541123456789", "", schemas.SMS, schemas.User{Kind: schemas.UserPhone, Address: "+5491123456789", Given: "+541123456789"}},
		{"e-mail", "Jo.Doe@Example.COM", "", schemas.Email, schemas.User{Kind: schemas.UserEmail, Address: "jo.doe@example.com", Given: "Jo.Doe@Example.COM"}},
		{"business-scoped user id", "US.13491208655302741918", "", schemas.WhatsApp, schemas.User{Kind: schemas.UserBSUID, Address: "US.13491208655302741918"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := Canonical(c.raw, c.country, c.channel)
			if !ok || got != c.want {
				t.Errorf("Canonical gave %q %q given %q, %v; want %q %q given %q", string(got.Address), got.Kind, string(got.Given), ok, string(c.want.Address), c.want.Kind, string(c.want.Given))
			}
			again, ok := Canonical(string(got.Address), c.country, c.channel)
			if !ok || again.Address != got.Address {
				t.Errorf("the canonical form is not canonical: %q", string(again.Address))
			}
		})
	}
	for name, raw := range map[string]string{
		"blank": "  ", "masked by X": "91767XXXXX", "masked by x": "918921269xxx", "masked by stars": "+9198****1234", "masked by dots": "9198•••1234",
		"masked e-mail": "[email protected]", "e-mail without domain": "a@", "a word": "mmx_traffic", "short code": "72345", "too long": "+123456789012345678",
		"no such country":                  "+99912345678",
		"ten digits that may be anybody's": "9876543210", "long short code": "567890",
	} {
		if got, ok := Canonical(raw, "", schemas.RCS); ok {
			t.Errorf("%s: %q was read as %q", name, raw, string(got.Address))
		}
	}
}

func TestParseIsStrict(t *testing.T) {
	for raw, want := range map[string]schemas.User{
		"+14155550123":     {Kind: schemas.UserPhone, Address: "+14155550123"},
		"+5215512345678":   {Kind: schemas.UserPhone, Address: "+525512345678"},
		"+551187654321":    {Kind: schemas.UserPhone, Address: "+5511987654321"},
		"A@B.example":      {Kind: schemas.UserEmail, Address: "a@b.example"},
		"US.1349120865530": {Kind: schemas.UserBSUID, Address: "US.1349120865530"},
		"opaque:01AB=":     {Kind: schemas.UserOpaque, Address: "01AB="},
	} {
		if got, ok := Parse(raw); !ok || got != want {
			t.Errorf("Parse(%q) = %q %q, %v", raw, string(got.Address), got.Kind, ok)
		}
	}
	for _, raw := range []string{"", "2025550123", "919999912345", "+9199XXX12345", "opaque:", "hello"} {
		if _, ok := Parse(raw); ok {
			t.Errorf("Parse(%q) was read", raw)
		}
	}
}

func TestCanonicalOfAnything(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := rapid.OneOf(rapid.String(), rapid.StringMatching(`\+?[0-9 ()-]{4,18}`)).Draw(t, "raw")
		country := rapid.SampledFrom([]string{"", "US", "IN", "BR", "XX"}).Draw(t, "country")
		user, ok := Canonical(raw, country, schemas.SMS)
		if !ok {
			return
		}
		again, ok := Canonical(string(user.Address), country, schemas.SMS)
		if !ok || again.Address != user.Address {
			t.Fatalf("%q became %q and then %q", raw, string(user.Address), string(again.Address))
		}
	})
}

func TestShortCutsAreAsTheLibraryHasThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		home := rapid.SampledFrom([][2]string{{`91[6-9][0-9]{9}`, "IN"}, {`1[0-9]{10}`, "US"}, {`1[0-9]{10}`, "CA"}}).Draw(t, "home")
		digits := rapid.StringMatching(home[0]).Draw(t, "digits")
		want, ok := e164(parse(digits, ""), possible)
		for _, country := range []string{"", home[1]} {
			if got, gotOK := phone(digits, country); !ok || !gotOK || got != want {
				t.Fatalf("%s is %q, the library has %q, %v", digits, string(got), string(want), ok)
			}
		}
	})
}

func BenchmarkCanonical(b *testing.B) {
	for _, raw := range []string{"919999912345", "9999912345", "14155550123", "mmx_traffic"} {
		b.Run(raw, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Canonical(raw, "IN", schemas.RCS)
			}
		})
	}
}

func TestRegion(t *testing.T) {
	for number, want := range map[schemas.Address]string{
		"+919999912345": "IN", "+14165550123": "CA", "+14155550123": "US", "+33612345678": "FR", "+999123456": "",
	} {
		if got := Region(&schemas.User{Kind: schemas.UserPhone, Address: number}); got != want {
			t.Errorf("Region(%s) = %q, want %q", string(number), got, want)
		}
	}
	if Region(nil) != "" || Region(&schemas.User{Kind: schemas.UserEmail, Address: "a@b.example"}) != "" {
		t.Error("a region where there is none")
	}
}
