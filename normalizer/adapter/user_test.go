package adapter

import (
	"testing"

	"github.com/heedhq/heed/schemas"
)

func TestUser(t *testing.T) {
	raw := Raw{Origin: schemas.Origin{DefaultCountry: "IN"}}
	for _, c := range []struct {
		name, given string
		want        string // kind and address; "" for nobody
	}{
		{"full", "919999912345", "phone +919999912345"},
		{"national", "9999912345", "phone +919999912345"},
		{"invalid but possible", "11234567890", "phone +11234567890"},
		{"masked", "91767XXXXX", ""},
		{"masked small", "917002088xxx", ""},
		{"masked by stars", "+91******2345", ""},
		{"masked all", "XXXXXXXXXX", ""},
		{"masked by dots", "+91 98•••• 2345", ""},
		{"masked by number signs", "91767#####", ""},
		{"masked by an ellipsis", "91767…", ""},
		{"numbers with an underscore", "1234_5678", "opaque 1234_5678"},
		{"placeholder", "<mobile>", ""},
		{"nothing", "  ", ""},
		{"short code", "5678", "opaque 5678"},
		{"long short code", "567890", "opaque 567890"},
		{"alphanumeric", "HXAP1837361844IN", "opaque HXAP1837361844IN"},
		{"alphanumeric with x", "mmx_traffic", "opaque mmx_traffic"},
		{"too long", "123456789012345678901", "opaque 123456789012345678901"},
		{"e-mail", "Ann.Lee@Example.COM", "email ann.lee@example.com"},
		{"e-mail masked by the page", "[email\u00a0protected]", ""},
		{"e-mail masked", "a***@example.com", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, got := User(raw, schemas.RCS, c.given), ""
			if u != nil {
				got = string(u.Kind) + " " + string(u.Address)
			}
			if got != c.want {
				t.Errorf("User(%q) = %q, want %q", c.given, got, c.want)
			}
		})
	}
}

func TestAMaskedNumberStaysInProviderData(t *testing.T) {
	v, _ := parseView(`{"from":"91767XXXXX","to":"919999912345"}`)
	for name, want := range map[string]bool{"from": false, "to": true} {
		if u := v.Root().TakeUser(Raw{}, schemas.RCS, name); (u != nil) != want {
			t.Errorf("%s: a user is named: %v, want %v", name, u != nil, want)
		}
	}
	if got := string(v.Rest(v.Root())); got != `{"from":"91767XXXXX"}` {
		t.Errorf("left is %s", got)
	}
}
