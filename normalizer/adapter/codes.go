package adapter

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/heedhq/heed/schemas"
)

// Codes is a provider's table of status codes with our reading of them. It stands as a data
// file in the provider's folder, one code a line:
//
//	# where it was read, and when
//	code <tab> kind <tab> meaning <tab> opt_out or - <tab> the provider's description
//
// kind is a schemas.Kind, "-" where the status alone decides. opt_out marks a code that proves
// that the provider holds an opt-out of the person.
type Codes struct {
	rows map[string]Code
}

// Code is one row.
type Code struct {
	Kind        schemas.Kind
	Meaning     schemas.Meaning
	OptOut      bool
	Description string
}

// ParseCodes reads a table. Codes are compared folded (see FoldCode), so a table lists a code once.
func ParseCodes(table string) (Codes, error) {
	codes := Codes{rows: map[string]Code{}}
	kinds, meanings := schemas.Kinds(), Meanings()
	number := 0
	for line := range strings.Lines(table) {
		number++
		line = strings.TrimRight(line, "\r\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) < 4 || len(f) > 5 {
			return Codes{}, fmt.Errorf("line %d of the code table: want code, kind, meaning, opt_out or -, description, with tabs between", number)
		}
		c := Code{Meaning: schemas.Meaning(f[2]), OptOut: f[3] == "opt_out"}
		if len(f) == 5 {
			c.Description = f[4]
		}
		if f[1] != "-" {
			c.Kind = schemas.Kind(f[1])
		}
		switch key := FoldCode(f[0]); {
		case key == "":
			return Codes{}, fmt.Errorf("line %d of the code table: no code", number)
		case f[1] != "-" && !slices.Contains(kinds, c.Kind):
			return Codes{}, fmt.Errorf("line %d of the code table: %q is no kind of ours", number, f[1])
		case !slices.Contains(meanings, c.Meaning):
			return Codes{}, fmt.Errorf("line %d of the code table: %q is no meaning of ours", number, f[2])
		case f[3] != "opt_out" && f[3] != "-":
			return Codes{}, fmt.Errorf("line %d of the code table: %q should be opt_out or -", number, f[3])
		default:
			if _, double := codes.rows[key]; double {
				return Codes{}, fmt.Errorf("line %d of the code table: %q stands there already", number, f[0])
			}
			codes.rows[key] = c
		}
	}
	return codes, nil
}

// MustCodes is ParseCodes for a table that is embedded in the binary; a broken one is a bug that
// the provider's own test shows.
func MustCodes(table string) Codes {
	codes, err := ParseCodes(table)
	if err != nil {
		panic(err)
	}
	return codes
}

// longestCode is more than any table's code with the blanks that a provider may put in it: what
// is longer is a text, and is not folded to be looked up.
const longestCode = 256

// Find is the row of a code.
func (c Codes) Find(code string) (Code, bool) {
	row, ok := c.rows[FoldCode(code)]
	return row, ok
}

// Or is the table with the rows that it lacks taken from more.
func (c Codes) Or(more Codes) Codes {
	rows := maps.Clone(more.rows)
	maps.Copy(rows, c.rows)
	return Codes{rows}
}

// FoldCode is a code as tables are searched: upper case, blanks, "-" and "_" all as "_". Providers
// write one code as "NOT-SENT", "not-sent" and "Not Sent". The minus of a number is its sign:
// Telesign's -10001 is another code than 10001. What is too long for a code stays as it is.
func FoldCode(code string) string {
	if len(code) > longestCode || folded(code) {
		return code
	}
	code = strings.ToUpper(strings.TrimSpace(code))
	if !strings.ContainsAny(code, " -") || code[0] == '-' && Number(code) != "" {
		return code
	}
	return strings.Join(strings.FieldsFunc(code, func(r rune) bool { return r == ' ' || r == '-' || r == '_' }), "_")
}

// folded says that a code stands as tables are searched already: most do.
func folded(code string) bool {
	for i := range len(code) {
		if c := code[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			return false
		}
	}
	return true
}

// SetStatus gives the item the status of the first of the codes that the table knows: kind,
// meaning, and evidence of an opt-out. With none known it is message.status_unknown. shown is the
// code as the provider wrote it, description its words.
func (c Codes) SetStatus(it *Item, shown, description string, codes ...string) {
	it.Data.Status = &schemas.Status{Code: shown, Description: description, Meaning: schemas.MeaningUnknown}
	it.Kind = schemas.MessageStatusUnknown
	known := false
	for _, code := range codes {
		row, ok := c.Find(code)
		if !ok || code == "" {
			continue
		}
		if row.OptOut && it.Data.Evidence == nil {
			it.Data.Evidence = &schemas.Evidence{OptOut: true, Code: code}
		}
		if !known {
			known = true
			it.Data.Status.Meaning = row.Meaning
		}
		if row.Kind != "" && it.Kind == schemas.MessageStatusUnknown {
			it.Kind = row.Kind
		}
	}
}

// Meanings is the closed list of our meanings.
func Meanings() []schemas.Meaning {
	return []schemas.Meaning{
		schemas.MeaningAccepted, schemas.MeaningSent, schemas.MeaningDelivered, schemas.MeaningRead,
		schemas.MeaningUnreachable, schemas.MeaningBlocked, schemas.MeaningOptedOut, schemas.MeaningSpam,
		schemas.MeaningExpired, schemas.MeaningNoCredit, schemas.MeaningInvalidNumber, schemas.MeaningInvalidSender,
		schemas.MeaningTemplate, schemas.MeaningUnsupported, schemas.MeaningRateLimited, schemas.MeaningProviderFault,
		schemas.MeaningNetworkFault, schemas.MeaningRejected, schemas.MeaningFailed, schemas.MeaningDeleted,
		schemas.MeaningAnswered, schemas.MeaningBusy, schemas.MeaningNoAnswer, schemas.MeaningCanceled,
		schemas.MeaningUnknown,
	}
}
