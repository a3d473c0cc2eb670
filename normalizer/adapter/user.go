package adapter

import (
	"strings"

	"github.com/heedhq/heed/schemas"
	"github.com/heedhq/heed/schemas/address"
)

// User is the person behind an address of the callback in its canonical form (schemas/address
// has the rules), nil where nobody is named: nothing given, or digits masked ("91767XXXXX"),
// which must never become somebody's address. What is no phone, no e-mail address and no
// business-scoped id is opaque, as given: short codes, dummies of a document, providers' own ids.
func User(raw Raw, channel schemas.Channel, given string) *schemas.User {
	given = strings.TrimSpace(given)
	if given == "" || len(given) > maxAddress || unreplaced(given) {
		return nil
	}
	canonical, ok := address.Canonical(given, raw.Origin.DefaultCountry, channel)
	if !ok && (masked(given) || strings.Contains(given, "@")) {
		return nil
	}
	if !ok {
		canonical = schemas.User{Kind: schemas.UserOpaque, Address: schemas.Address(given)}
	}
	u := raw.Memory.user()
	*u = canonical
	return u
}

// TakeUser is the user behind the first of the named members that says something, which it takes
// unless nobody is named by it: then it stays in provider_data.
func (n Node) TakeUser(raw Raw, channel schemas.Channel, names ...string) *schemas.User {
	m := n.First(names...)
	u := User(raw, channel, m.Text())
	if u != nil {
		m.Taken()
	}
	return u
}

// TakeBusiness is the business side behind the first of the named members that says something, which
// it takes; nil where none does.
func (n Node) TakeBusiness(names ...string) *schemas.Business {
	address := n.Take(names...)
	if address == "" {
		return nil
	}
	b := n.v.memory.business()
	*b = schemas.Business{Address: address}
	return b
}

// maxAddress is the longest e-mail address there is (RFC 5321 §4.5.3.1: 64 + 1 + 255).
const maxAddress = 320

// maskSigns stand for digits that a provider, or a page that shows one, hides.
const maskSigns = "Xx*#•●∙·…█■"

// masked says whether s is a number of which digits were masked, or the "[email protected]" that
// web pages show for an address.
func masked(s string) bool {
	rest := strings.Trim(strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' || strings.ContainsRune("+-()./ ", r) {
			return -1
		}
		return r
	}, s), maskSigns)
	return rest == "" && strings.ContainsAny(s, maskSigns) || strings.HasPrefix(s, "[email")
}
