package adapter

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/heedhq/heed/schemas"
)

func TestTimes(t *testing.T) {
	received := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		written, zone, want string
		flag                schemas.TimeFlag
	}{
		{"2025-12-12T11:27:18.302Z", "", "2025-12-12T11:27:18.302Z", ""},
		{"2025-12-12T11:28:44.000Z", "", "2025-12-12T11:28:44Z", ""},
		{"2025-12-12T11:28:44.123456789Z", "", "2025-12-12T11:28:44.123456789Z", ""},
		{"2025-12-12T11:28:44,5Z", "", "2025-12-12T11:28:44.5Z", ""},
		{"2025-12-12 11:28:44.490130Z", "", "2025-12-12T11:28:44.49013Z", ""},
		{"2025-12-07T17:00:00.000+05:30", "", "2025-12-07T11:30:00Z", ""},
		{"2025-12-07T17:00:00+0530", "", "2025-12-07T11:30:00Z", ""},
		{"2025-12-07 17:00:00 +0530", "", "2025-12-07T11:30:00Z", ""},
		{"2025-12-07T17:00:00 05:30", "", "2025-12-07T11:30:00Z", ""},
		{"2025-12-07 17:00:00.250 05:30", "", "2025-12-07T11:30:00.25Z", ""},
		{"2025-12-07T17:00:00 25:30", "", "", schemas.TimeUnreadable},
		{"2025-12-07 17:00:00 UTC", "", "2025-12-07T17:00:00Z", ""},
		{"Sun, 07 Dec 2025 17:00:00 GMT", "", "2025-12-07T17:00:00Z", ""},
		{"Sun, 07 Dec 2025 17:00:00 +0530", "", "2025-12-07T11:30:00Z", ""},
		{"Sun, 07 Dec 2025 17:00:00 IST", "", "", schemas.TimeUnreadable},
		{"1767225600", "", "2026-01-01T00:00:00Z", ""},
		{"1767225600.25", "", "2026-01-01T00:00:00.25Z", ""},
		{"1767225600123", "", "2026-01-01T00:00:00.123Z", ""},
		{"1767225600123456", "", "2026-01-01T00:00:00.123456Z", ""},
		{"1767225600123456789", "", "2026-01-01T00:00:00.123456789Z", ""},
		{"2025-12-17 18:35:20", "Asia/Kolkata", "2025-12-17T13:05:20Z", schemas.TimeNaive},
		{"2025-12-17T18:35:20.5", "", "2025-12-17T18:35:20.5Z", schemas.TimeNaive},
		{"2025-12-17 18:35:20:226", "", "2025-12-17T18:35:20.226Z", schemas.TimeNaive},
		{"20251217183520", "", "2025-12-17T18:35:20Z", schemas.TimeNaive},
		{"2026-01-02 08:34:06", "Asia/Kolkata", "2026-01-02T03:04:06Z", schemas.TimeNaive},
		{"2026-01-02T03:04:05.001Z", "", "2026-01-02T03:04:05.001Z", ""},
		{"2026-01-02T03:04:05Z", "", "2026-01-02T03:04:05Z", ""},
		{"1235654654", "", "2009-02-26T13:24:14Z", ""},
		{"2021-04-09 16:27:51", "Asia/Kolkata", "2021-04-09T10:57:51Z", schemas.TimeNaive},
		{"2022-31-03T10:00:00Z", "", "", schemas.TimeUnreadable},
		{"2025-02-30T10:00:00Z", "", "", schemas.TimeUnreadable},
		{"0", "", "", schemas.TimeUnreadable},
		{"0001-01-01T00:00:00Z", "", "", schemas.TimeUnreadable},
		{"9223372036854775808", "", "", schemas.TimeUnreadable},
		{"yesterday", "", "", schemas.TimeUnreadable},
		{"<timestamp>", "", "", ""},
		{"", "", "", ""},
	} {
		t.Run(c.written, func(t *testing.T) {
			var it Item
			it.At(Raw{ReceivedAt: received}, c.written, c.zone)
			got := ""
			if !it.Time.IsZero() {
				got = it.Time.Format(time.RFC3339Nano)
			}
			if got != c.want || it.Data.TimeFlag != c.flag {
				t.Errorf("got %s %q, want %s %q", got, it.Data.TimeFlag, c.want, c.flag)
			}
		})
	}
}

func TestTheEndpointsZoneOutranksTheProviders(t *testing.T) {
	var it Item
	it.At(Raw{Origin: schemas.Origin{NaiveZone: "UTC"}, ReceivedAt: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, "2026-01-02 00:00:00", "Asia/Kolkata")
	if it.Time.Hour() != 0 {
		t.Errorf("got %v, want midnight UTC", it.Time)
	}
}

// What is read without the layouts is what package time reads by them, and what is not read is not
// RFC 3339, or written in more ways than offsetOf knows.
func TestTimesProperty(t *testing.T) {
	digits := func(least, most int) *rapid.Generator[string] {
		return rapid.Map(rapid.IntRange(least, most), func(n int) string { return fmt.Sprintf("%02d", n) })
	}
	rapid.Check(t, func(t *rapid.T) {
		fraction := rapid.StringMatching(`|\.[0-9]{0,11}`).Draw(t, "fraction")
		s := fmt.Sprintf("%04d-%s-%sT%s:%s:%s", rapid.IntRange(1990, 2210).Draw(t, "year"), digits(0, 13).Draw(t, "month"), digits(0, 32).Draw(t, "day"),
			digits(0, 24).Draw(t, "hour"), digits(0, 60).Draw(t, "minute"), digits(0, 60).Draw(t, "second")) +
			fraction +
			rapid.OneOf(rapid.Just("Z"), rapid.StringMatching(`[+-][0-2][0-9]:[0-6][0-9]`), rapid.StringMatching(`|z|[+-]?[0-9:]{1,6}`)).Draw(t, "offset")
		want, err := time.Parse(time.RFC3339, s)
		got, rest, ok := dashed(s)
		offset, ok2 := offsetOf(rest)
		if ok = ok && ok2; ok {
			got = got.Add(offset)
		}
		switch {
		case ok && (err != nil || !got.Equal(want)):
			t.Fatalf("%s: %v, package time has %v (%v)", s, got, want, err)
		case !ok && err == nil && !strings.Contains(s, "+24:") && !strings.Contains(s, "-24:") && !strings.HasSuffix(s, ":60") && len(fraction) <= len(".123456789"):
			t.Fatalf("%s is not read, package time has %v", s, want)
		}
	})
}

func BenchmarkTime(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ParseTime("2025-12-17T18:35:20.683Z", "Asia/Kolkata")
	}
}

func BenchmarkNaiveTime(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		ParseTime("2025-12-17 18:35:20", "Asia/Kolkata")
	}
}
