package adapter

import (
	"slices"
	"strings"
	"testing"

	"github.com/heedhq/heed/schemas"
)

func TestCodesDecideKindMeaningAndEvidence(t *testing.T) {
	codes := MustCodes("# source\nDELIVRD\tmessage.delivered\tdelivered\t-\tdelivered\nNOT-SENT\tmessage.failed\trejected\t-\tnot sent\n\nOPT-OUT\t-\topted_out\topt_out\tthe recipient has opted out\n")
	for _, c := range []struct {
		name     string
		codes    []string
		kind     schemas.Kind
		meaning  schemas.Meaning
		evidence string
	}{
		{"one", []string{"DELIVRD"}, schemas.MessageDelivered, schemas.MeaningDelivered, ""},
		{"written otherwise", []string{" not sent "}, schemas.MessageFailed, schemas.MeaningRejected, ""},
		{"the reason first", []string{"OPT-OUT", "NOT-SENT"}, schemas.MessageFailed, schemas.MeaningOptedOut, "OPT-OUT"},
		{"evidence behind", []string{"NOT-SENT", "opt_out"}, schemas.MessageFailed, schemas.MeaningRejected, "opt_out"},
		{"unknown", []string{"MOON", ""}, schemas.MessageStatusUnknown, schemas.MeaningUnknown, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var it Item
			codes.SetStatus(&it, c.codes[0], "", c.codes...)
			evidence := ""
			if it.Data.Evidence != nil {
				evidence = it.Data.Evidence.Code
			}
			if it.Kind != c.kind || it.Data.Status.Meaning != c.meaning || evidence != c.evidence {
				t.Errorf("got %s %s evidence %q, want %s %s %q", it.Kind, it.Data.Status.Meaning, evidence, c.kind, c.meaning, c.evidence)
			}
		})
	}
}

func TestCodesOrOthers(t *testing.T) {
	own := MustCodes("470\tmessage.failed\trate_limited\t-\tthe day's limit\n")
	both := own.Or(MustCodes("470\tmessage.failed\trejected\t-\t\n471\tmessage.failed\tspam\t-\t\n"))
	for code, want := range map[string]schemas.Meaning{"470": schemas.MeaningRateLimited, "471": schemas.MeaningSpam} {
		if got, ok := both.Find(code); !ok || got.Meaning != want {
			t.Errorf("%s means %q, want %q", code, got.Meaning, want)
		}
	}
	if _, ok := own.Find("471"); ok {
		t.Error("Or changed the table")
	}
}

func TestABrokenCodeTableSaysWhere(t *testing.T) {
	for table, want := range map[string]string{
		"A\tmessage.sent\n":                                "line 1",
		"\n\tmessage.sent\tsent\t-\n":                      "line 2 of the code table: no code",
		"A\tmessage.lost\tsent\t-\n":                       `"message.lost" is no kind`,
		"A\tmessage.sent\tgone\t-\n":                       `"gone" is no meaning`,
		"A\tmessage.sent\tsent\tyes\n":                     `"yes" should be`,
		"A-B\tmessage.sent\tsent\t-\na b\t-\tsent\t-\tx\n": "stands there already",
	} {
		if _, err := ParseCodes(table); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one that says %q", table, err, want)
		}
	}
}

func TestMappedEvents(t *testing.T) {
	codes := MustCodes("NO\tmessage.failed\trejected\t-\tno\n")
	for _, c := range []struct{ name, body, query, fields, want string }{
		{"text", `{"a":{"b":["x","hi"]}}`, "", "text=a.b.1", "message.received text hi"},
		{"media", `{"u":"https://x.example/1","c":"look"}`, "", "media_url=u text=c", "message.received media look"},
		{"location", `{"la":"1.50","lo":-2}`, "", "latitude=la longitude=lo", "message.received location "},
		{"a tap", `{"p":"yes"}`, "", "postback=p", "message.received suggestion_reply "},
		{"from the query", `{"z":1}`, "t=STOP", "text=t", "message.received text STOP"},
		{"a name with points", `{"a.b":"dotted","a":{"b":"deep"}}`, "", "text=a.b", "message.received text dotted"},
		{"receipt", `{"s":"no"}`, "", "status=s", "message.failed rejected"},
		{"opt-out without scope", `{"i":"Opt-Out","v":"offers"}`, "", "intent=i scope_value=v", "user.opted_out agent *"},
		{"opt-in without scope", `{"i":"opt in","v":"offers"}`, "", "intent=i scope_value=v", "user.opted_in category offers"},
		{"opt-in of a brand", `{"i":"start","s":"Brand","v":"b1"}`, "", "intent=i scope=s scope_value=v", "user.opted_in brand b1"},
		{"no intent that we know", `{"i":"perhaps"}`, "", "intent=i", "message.received unsupported "},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, f := parseView(c.body)
			if f != nil {
				t.Fatal(f)
			}
			raw := Raw{Request: schemas.Capture{Target: "/x?" + c.query}}
			fields := map[string]string{}
			for pair := range strings.FieldsSeq(c.fields) {
				ours, theirs, _ := strings.Cut(pair, "=")
				fields[ours] = theirs
			}
			it := Map(fields, v.Root(), ReadQuery(raw)).Event(raw, schemas.SMS, "", codes)
			got := string(it.Kind)
			switch d := it.Data; {
			case d.Consent != nil:
				got += " " + string(d.Consent.Scope) + " " + d.Consent.Value
			case d.Status != nil:
				got += " " + string(d.Status.Meaning)
			default:
				got += " " + string(d.Content.Type) + " " + string(d.Content.Text)
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			for name := range fields {
				if !slices.Contains(schemas.MappingNames(), name) {
					t.Errorf("%s is no mapped name", name)
				}
			}
		})
	}
}

// TestALargeEnvelopeGoesWithTheFirstItemOnly: otherwise a batch of n items would carry it n times.
func TestALargeEnvelopeGoesWithTheFirstItemOnly(t *testing.T) {
	v, f := parseView(`{"note":"` + strings.Repeat("x", maxShared) + `","list":[{"a":1},{"a":2}]}`)
	if f != nil {
		t.Fatal(f)
	}
	items := v.Root().Get("list").Items()
	if got := v.Rest(items[0]); len(got) < maxShared {
		t.Errorf("the first item lost its envelope: %s", got)
	}
	if got := string(v.Rest(items[1])); got != `{"a":2}` {
		t.Errorf("the second item has %.100s", got)
	}
}

// The minus of a negative error code (Telesign) is its sign, not a blank as in NOT-SENT.
func TestNegativeCodesAreCodesOfTheirOwn(t *testing.T) {
	codes, err := ParseCodes("10001\tmessage.sent\tsent\t-\n-10001\tmessage.failed\trejected\t-\nNOT-SENT\tmessage.failed\tfailed\t-\n")
	if err != nil {
		t.Fatal(err)
	}
	for code, want := range map[string]schemas.Meaning{"10001": schemas.MeaningSent, " -10001 ": schemas.MeaningRejected, "not sent": schemas.MeaningFailed, "-10002": ""} {
		if row, _ := codes.Find(code); row.Meaning != want {
			t.Errorf("%q means %q, want %q", code, row.Meaning, want)
		}
	}
}
