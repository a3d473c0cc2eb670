package adapter

import (
	"strings"
	"time"

	"github.com/heedhq/heed/schemas"
)

// At gives the item the time at which it happened, as the provider wrote it. zone is where the
// provider's times without a zone are, unless the endpoint's naive_zone says otherwise; "" is
// UTC. The written form stays in provider_data: don't take it. (That a time lies in the future,
// or is old, is flagged for all providers alike when the event is made.)
func (it *Item) At(raw Raw, written, zone string) {
	written = strings.TrimSpace(written)
	if written == "" || unreplaced(written) {
		return
	}
	if raw.Origin.NaiveZone != "" {
		zone = raw.Origin.NaiveZone
	}
	switch t, naive, ok := ParseTime(written, zone); {
	case !ok:
		it.Data.TimeFlag = schemas.TimeUnreadable
	case naive:
		it.Time, it.Data.TimeFlag = t, schemas.TimeNaive
	default:
		it.Time = t
	}
}

// layouts are the written forms, by the facts: zoned first. Go reads any fraction after seconds.
var zoned = []string{
	time.RFC3339,
	"2006-01-02 15:04:05Z07:00",
	"2006-01-02 15:04:05 Z07:00",
	"2006-01-02T15:04:05Z0700",
	"2006-01-02 15:04:05Z0700",
	"2006-01-02 15:04:05 Z0700",
	"2006-01-02T15:04:05Z07",
	"2006-01-02 15:04:05 UTC",
	"2006-01-02 15:04:05 GMT",
	"2006-01-02T15:04Z07:00",
	time.RFC1123,
	time.RFC1123Z,
	time.RFC850,
	"Mon, 2 Jan 2006 15:04:05 MST",
	"Mon, 2 Jan 2006 15:04:05 -0700",
}

var unzoned = []string{
	"2006-01-02T15:04:05",
	"2006-01-02 15:04:05",
	"2006/01/02 15:04:05",
	"20060102150405",
	"2006-01-02T15:04",
	"2006-01-02 15:04",
	time.ANSIC,
}

// ParseTime reads a time in any form that a provider is documented to write: RFC 3339 with any
// fraction, also after a colon; seconds, ms, µs or ns since 1970; the same without a zone, then
// in the named zone and naive; HTTP dates. A year before 2000 is no time of a message, and
// neither is a day and month changed about (2022-31-03): not ok.
func ParseTime(s, zone string) (t time.Time, naive, ok bool) {
	if len(s) > longestTime {
		return time.Time{}, false, false
	}
	if t, ok = epoch(s); ok {
		return t, false, sane(t)
	}
	s = colonFraction(s)
	for _, layout := range zoned {
		if t, err := time.Parse(layout, s); err == nil {
			if _, offset := t.Zone(); offset == 0 && foreignZone(layout, s) {
				return time.Time{}, false, false // an abbreviation whose offset nobody knows
			}
			return t.UTC(), false, sane(t)
		}
	}
	for _, layout := range unzoned {
		if _, err := time.Parse(layout, s); err != nil {
			continue
		}
		where, err := time.LoadLocation(zone)
		if err != nil {
			where = time.UTC
		}
		t, err := time.ParseInLocation(layout, s, where)
		return t.UTC(), true, err == nil && sane(t)
	}
	return time.Time{}, false, false
}

// longestTime is more than any of the forms takes. Each layout that does not fit costs a copy of
// the text in time.Parse's error, so a hostile megabyte would cost dozens.
const longestTime = 64

func sane(t time.Time) bool { return t.Year() >= 2000 && t.Year() < 2200 }

// foreignZone says that the time names a zone by letters other than UTC and GMT, which Go reads
// as having no offset.
func foreignZone(layout, s string) bool {
	return strings.HasSuffix(layout, "MST") && !strings.HasSuffix(s, "GMT") && !strings.HasSuffix(s, "UTC")
}

// epoch reads a count since 1970; its unit is told by its length.
func epoch(s string) (time.Time, bool) {
	whole, fraction, point := strings.Cut(s, ".")
	var n int64
	for i := range len(whole) {
		c := whole[i]
		if c < '0' || c > '9' || i >= 19 {
			return time.Time{}, false
		}
		n = n*10 + int64(c-'0')
	}
	if point && (fraction == "" || strings.Trim(fraction, "0123456789") != "" || len(whole) != 10) {
		return time.Time{}, false
	}
	switch len(whole) {
	case 9, 10:
		nano := int64(0)
		for i := range 9 {
			nano *= 10
			if i < len(fraction) {
				nano += int64(fraction[i] - '0')
			}
		}
		return time.Unix(n, nano).UTC(), true
	case 13:
		return time.UnixMilli(n).UTC(), true
	case 16:
		return time.UnixMicro(n).UTC(), true
	case 19:
		return time.Unix(0, n).UTC(), n > 0
	}
	return time.Time{}, false
}

// colonFraction turns the third colon of "2020-05-04 22:07:01:226" (Telesign) into a point.
func colonFraction(s string) string {
	if len(s) < 20 || s[13] != ':' || s[16] != ':' || s[19] != ':' {
		return s
	}
	return s[:19] + "." + s[20:]
}
