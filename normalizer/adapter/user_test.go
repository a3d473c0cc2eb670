package adapter

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/heedhq/heed/schemas"
	"github.com/nyaruka/phonenumbers"
)

func TestUser(t *testing.T) {
	in := Numbers{Country: "IN"}
	inNational := Numbers{Country: "IN", National: true}
	whatsApp := Numbers{WhatsApp: true}
	for _, c := range []struct {
		name  string
		w     Numbers
		given string
		want  string // kind and address; "" for none
	}{
		{"full", Numbers{}, "919999912345", "phone +919999912345"},
		{"plus", Numbers{}, "+919999912345", "phone +919999912345"},
		{"written nicely", Numbers{}, "+91 99999-12345", "phone +919999912345"},
		{"masked", in, "91767XXXXX", ""},
		{"masked small", in, "917002088xxx", ""},
		{"masked by stars", in, "+91******2345", ""},
		{"masked all", in, "XXXXXXXXXX", ""},
		{"placeholder", in, "<mobile>", ""},
		{"nothing", in, "  ", ""},
		{"invalid but possible", Numbers{}, "11234567890", "phone +11234567890"},
		{"invalid but possible, other country", in, "11234567890", "phone +11234567890"},
		{"short code", in, "5678", "opaque 5678"},
		{"short code without country", Numbers{}, "1234", "opaque 1234"},
		{"alphanumeric", in, "HXAP1837361844IN", "opaque HXAP1837361844IN"},
		{"alphanumeric with x", in, "mmx_traffic", "opaque mmx_traffic"},
		{"national", in, "9876543210", "phone +919876543210"},
		{"national, no country", Numbers{}, "9876543210", "opaque 9876543210"},
		{"trunk prefix", inNational, "09876543210", "phone +919876543210"},
		{"trunk prefix, no country", Numbers{National: true}, "09876543210", "opaque 09876543210"},
		{"two readings, full provider", in, "6591234567", "phone +6591234567"},
		{"two readings, national provider", inNational, "6591234567", "phone +916591234567"},
		{"two readings, national provider, no country", Numbers{National: true}, "6591234567", "opaque 6591234567"},
		{"international at a national provider", inNational, "919876543210", "phone +919876543210"},
		{"american at an Indian endpoint", inNational, "14155550123", "phone +14155550123"},
		{"chinese mobile at a Chinese endpoint", Numbers{Country: "CN"}, "13812345678", "phone +8613812345678"},
		{"00", Numbers{}, "00442071838750", "phone +442071838750"},
		{"too long", Numbers{}, "123456789012345678901", "opaque 123456789012345678901"},
		{"plus and too short", Numbers{}, "+123", "opaque +123"},
		{"scheme", whatsApp, "whatsapp:+14155550123", "phone +14155550123"},
		{"Brazil without its 9", whatsApp, "551187654321", "phone +5511987654321"},
		{"Brazil with it", whatsApp, "5511987654321", "phone +5511987654321"},
		{"Brazil, fixed line", whatsApp, "551123456789", "phone +551123456789"},
		{"Mexico with the old 1", whatsApp, "5215512345678", "phone +525512345678"},
		{"Mexico", Numbers{}, "525512345678", "phone +525512345678"},
		{"Mexico, plus and old 1", Numbers{}, "+5215512345678", "phone +525512345678"},
		{"Argentina without the 9", whatsApp, "541123456789", "phone +5491123456789"},
		{"Argentina with it", whatsApp, "5491123456789", "phone +5491123456789"},
		{"Argentina, fixed line by SMS", Numbers{}, "541123456789", "phone +541123456789"},
		{"e-mail", in, "Ann.Lee@Example.COM", "email Ann.Lee@example.com"},
		{"e-mail masked by the page", in, "[email\u00a0protected]", ""},
		{"e-mail masked", in, "a***@example.com", ""},
		{"business-scoped id", whatsApp, "US.13491208655302741918", "bsuid US.13491208655302741918"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, got := c.w.User(c.given), ""
			if u != nil {
				got = string(u.Kind) + " " + string(u.Address)
			}
			if got != c.want {
				t.Errorf("User(%q) = %q, want %q", c.given, got, c.want)
			}
			if u != nil && (string(u.Address) != c.given) != (string(u.Given) == c.given) {
				t.Errorf("User(%q) has given %q", c.given, string(u.Given))
			}
		})
	}
}

// TestPlainNumbersAreTheLibrarys holds the short cuts against libphonenumber.
func TestPlainNumbersAreTheLibrarys(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		d := "91" + strconv.Itoa(6+random.IntN(4)) + strconv.Itoa(100_000_000+random.IntN(900_000_000))
		if random.IntN(2) == 0 {
			d = "1" + strconv.Itoa(1_000_000_000+random.IntN(2_000_000_000))
		}
		n, err := phonenumbers.Parse("+"+d, "ZZ")
		if err != nil || phonenumbers.IsPossibleNumberWithReason(n) != phonenumbers.IS_POSSIBLE {
			t.Fatalf("%s is not possible by the library: %v", d, err)
		}
		want := phonenumbers.Format(n, phonenumbers.E164)
		if u := (Numbers{}).User(d); u.Kind != schemas.UserPhone || string(u.Address) != want {
			t.Fatalf("%s: got %s, want %s", d, string(u.Address), want)
		}
	}
}

func BenchmarkUser(b *testing.B) {
	for _, given := range []string{"919999912345", "14155550123", "442071838750", "HXAP1837361844IN"} {
		b.Run(given, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				(Numbers{}).User(given)
			}
		})
	}
}
