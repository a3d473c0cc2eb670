package address

import (
	"github.com/nyaruka/phonenumbers"

	"github.com/heedhq/heed/schemas"
)

// Region is the country (ISO 3166-1 alpha-2) that the person's number is from, "" where there is
// no telling. Consent chooses by it the words that mean something else in other countries.
func Region(u *schemas.User) string {
	if u == nil || u.Kind != schemas.UserPhone {
		return ""
	}
	n, err := phonenumbers.Parse(string(u.Address), "")
	if err != nil {
		return ""
	}
	if region := phonenumbers.GetRegionCodeForNumber(n); region != "" && region != "ZZ" {
		return region
	}
	if region := phonenumbers.GetRegionCodeForCountryCode(int(n.GetCountryCode())); region != "ZZ" {
		return region
	}
	return ""
}
