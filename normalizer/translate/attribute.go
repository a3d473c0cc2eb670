package translate

import (
	"strings"
	"unicode/utf8"
)

// maxAttribute bounds an attribute's value in bytes: providers' ids have at most a few hundred,
// and the whole of it stands in data.
const maxAttribute = 512

// attribute makes a value fit for a CloudEvents attribute (1.0.2 §"Type System"): valid UTF-8
// without control characters and noncharacters, without outer blanks, of bounded length.
func attribute(s string) string {
	if len(s) > maxAttribute {
		cut := maxAttribute
		for cut > 0 && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut]
	}
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < ' ' || c >= 0x7f {
			s = strings.Map(allowed, strings.ToValidUTF8(s, ""))
			break
		}
	}
	return strings.TrimSpace(s)
}

func allowed(r rune) rune {
	if r < ' ' || 0x7f <= r && r <= 0x9f || 0xfdd0 <= r && r <= 0xfdef || r&0xfffe == 0xfffe {
		return -1
	}
	return r
}
