package adapter

import (
	"strings"
	"sync"
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
	if t, rest, ok := dashed(s); ok {
		if rest == "" {
			return local(t, zone), true, sane(t)
		}
		if offset, ok := offsetOf(rest); ok {
			t = t.Add(offset)
			return t, false, sane(t)
		}
	}
	s = plusOfZone(colonFraction(s))
	for _, layout := range zoned {
		if !begins(layout, s) {
			continue
		}
		if t, err := time.Parse(layout, s); err == nil {
			if _, offset := t.Zone(); offset == 0 && foreignZone(layout, s) {
				return time.Time{}, false, false // an abbreviation whose offset nobody knows
			}
			return t.UTC(), false, sane(t)
		}
	}
	for _, layout := range unzoned {
		if !begins(layout, s) {
			continue
		}
		if t, err := time.Parse(layout, s); err == nil {
			return local(t, zone), true, sane(t)
		}
	}
	return time.Time{}, false, false
}

// begins says whether s has what every text of the layout has: a digit or a letter at its start, and
// the signs of the date after it. To try a layout in vain takes 0.2 µs and 100 bytes.
func begins(layout, s string) bool {
	if s == "" || isDigit(layout[0]) != isDigit(s[0]) {
		return false
	}
	if !isDigit(s[0]) {
		return true
	}
	for i := 4; i < 11 && i < len(layout); i++ {
		if isDigit(layout[i]) {
			continue
		}
		if i >= len(s) || s[i] != layout[i] {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// dashed reads 2006-01-02 15:04:05, also with T between, and gives what stands behind it: nearly
// every time is such a one, and offsetOf reads the rest. It takes a tenth of what trying the layouts takes.
func dashed(s string) (t time.Time, rest string, ok bool) {
	if len(s) < 19 || s[4] != '-' || s[7] != '-' || s[10] != ' ' && s[10] != 'T' || s[13] != ':' || s[16] != ':' {
		return time.Time{}, "", false
	}
	var n [6]int
	for i, at := range [6]int{0, 5, 8, 11, 14, 17} {
		digits := 2
		if i == 0 {
			digits = 4
		}
		for _, c := range []byte(s[at : at+digits]) {
			if c < '0' || c > '9' {
				return time.Time{}, "", false
			}
			n[i] = n[i]*10 + int(c-'0')
		}
	}
	t = time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], 0, time.UTC)
	// Date carries over what a clock cannot show, 31 February say: then it is no time.
	_, month, day := t.Date()
	return t, s[19:], month == time.Month(n[1]) && day == n[2] && n[3] < 24 && n[4] < 60 && n[5] < 60
}

// offsetOf is what to add to a time for what RFC 3339 has behind the seconds: a fraction of up to nine
// digits, and Z or +05:30. What is written otherwise is not ok, and the layouts' to try.
func offsetOf(s string) (offset time.Duration, ok bool) {
	if s != "" && s[0] == '.' {
		unit := time.Second
		i := 1
		for ; i < len(s) && isDigit(s[i]); i++ {
			unit /= 10
			offset += time.Duration(s[i]-'0') * unit
		}
		if i == 1 || i > 10 {
			return 0, false
		}
		s = s[i:]
	}
	if s == "Z" {
		return offset, true
	}
	if len(s) != len("+05:30") || s[0] != '+' && s[0] != '-' || s[3] != ':' || !isDigit(s[1]) || !isDigit(s[2]) || !isDigit(s[4]) || !isDigit(s[5]) {
		return 0, false
	}
	hours, minutes := int(s[1]-'0')*10+int(s[2]-'0'), int(s[4]-'0')*10+int(s[5]-'0')
	if hours > 23 || minutes > 59 {
		return 0, false
	}
	zone := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if s[0] == '-' {
		zone = -zone
	}
	return offset - zone, true
}

// local is the instant at which clocks in the zone show what t shows in UTC.
func local(t time.Time, zone string) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zoneOf(zone)).UTC()
}

// zones memorises time.LoadLocation, which reads and decodes the zone's file every time (10 µs).
// Only names that exist are kept, so it is bounded, and what it holds never changes.
var zones sync.Map // string to *time.Location

func zoneOf(name string) *time.Location {
	if known, ok := zones.Load(name); ok {
		return known.(*time.Location)
	}
	where, err := time.LoadLocation(name)
	if err != nil {
		return time.UTC
	}
	zones.Store(name, where)
	return where
}

// longestTime is more than any of the forms takes. Each layout that does not fit costs a copy of
// the text in time.Parse's error, so a hostile megabyte would cost dozens.
const longestTime = 64

func sane(t time.Time) bool {
	year := t.Year()
	return year >= 2000 && year < 2200
}

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

// plusOfZone puts back the + of "2025-01-15T10:35:00 05:30", which a form that doesn't escape it loses.
func plusOfZone(s string) string {
	i := len(s) - len(" 05:30")
	if i < len("2006-01-02T15:04:05") || s[13] != ':' || s[16] != ':' || s[i] != ' ' || !isDigit(s[i+1]) || s[i+3] != ':' {
		return s
	}
	return s[:i] + "+" + s[i+1:]
}

// colonFraction turns the third colon of "2020-05-04 22:07:01:226" (Telesign) into a point.
func colonFraction(s string) string {
	if len(s) < 20 || s[13] != ':' || s[16] != ':' || s[19] != ':' {
		return s
	}
	return s[:19] + "." + s[20:]
}
