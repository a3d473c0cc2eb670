package intent

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// maxRunes bounds how much of a text is read: nobody opts out on page two.
const maxRunes = 1024

// text is a message in the form that rules compare.
type text struct {
	folded string   // one form of case, width and accents; still with its punctuation
	tokens []string // runs of letters, numbers and their marks
}

// normal brings a message, or a pack's keyword, to one form: compatibility forms (wide, bold,
// circled letters) to plain ones, no invisible characters, one case, no accents on Latin
// letters, no vowel and hamza marks on Arabic ones, no apostrophes. Marks of other scripts
// stay: without them Devanagari would lose its vowels.
func normal(s string) text {
	folded := fold(s)
	return text{folded: folded, tokens: tokens(folded)}
}

func fold(s string) string {
	s = head(s, maxRunes)
	s = norm.NFKC.String(s)
	s = strings.Map(func(r rune) rune {
		switch {
		case r == '\r' || r == '\n' || r == '\u2028' || r == '\u2029':
			return '\n'
		case unicode.Is(unicode.Cf, r), unicode.Is(unicode.Variation_Selector, r):
			return -1
		case unicode.IsControl(r):
			return ' '
		}
		return r
	}, s)
	s = cases.Fold().String(s)
	var b strings.Builder
	b.Grow(len(s))
	var base rune
	for _, r := range norm.NFD.String(s) {
		if unicode.Is(unicode.Mn, r) {
			if unicode.Is(unicode.Latin, base) || arabicMark(r) {
				continue
			}
		} else {
			base = r
		}
		if r = plain(r); r >= 0 {
			b.WriteRune(r)
		}
	}
	return unmix(norm.NFC.String(b.String()))
}

func head(s string, runes int) string {
	n := 0
	for i := range s {
		if n == runes {
			return s[:i]
		}
		n++
	}
	return s
}

// arabicMark: tashkeel, the superscript alef, and the hamza and madda that NFD parts from alef.
func arabicMark(r rune) bool { return r >= 0x064B && r <= 0x065F || r == 0x0670 }

// plain maps letters that Unicode does not decompose to the ones that people type instead;
// negative: drop.
func plain(r rune) rune {
	switch r {
	case 'ı':
		return 'i'
	case 'ł':
		return 'l'
	case 'ø':
		return 'o'
	case 'đ':
		return 'd'
	case 'æ':
		return 'a'
	case 'ٱ':
		return 'ا'
	case 'ى', 'ی':
		return 'ي'
	case 'ة':
		return 'ه'
	case 'ک':
		return 'ك'
	case 'ـ': // tatweel
		return -1
	case '\'', '’', '‘', 'ʼ', '`', '´', '＇':
		return -1
	}
	return r
}

// lookalikes are the Cyrillic and Greek letters that can't be told from Latin ones by eye.
var lookalikes = map[rune]rune{
	'а': 'a', 'с': 'c', 'е': 'e', 'о': 'o', 'р': 'p', 'х': 'x', 'у': 'y', 'т': 't', 'ѕ': 's', 'і': 'i', 'ο': 'o', 'ρ': 'p', 'τ': 't',
}

// unmix writes words that mix Latin letters with their lookalikes in Latin letters.
func unmix(s string) string {
	mixed := false
	for _, r := range s {
		if _, ok := lookalikes[r]; ok {
			mixed = true
			break
		}
	}
	if !mixed {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		end := strings.IndexFunc(s, func(r rune) bool { return !wordRune(r) })
		if end < 0 {
			end = len(s)
		}
		word := s[:end]
		if strings.ContainsFunc(word, func(r rune) bool { return unicode.Is(unicode.Latin, r) }) {
			word = strings.Map(func(r rune) rune {
				if l, ok := lookalikes[r]; ok {
					return l
				}
				return r
			}, word)
		}
		b.WriteString(word)
		s = s[end:]
		for i, r := range s {
			if wordRune(r) {
				b.WriteString(s[:i])
				s = s[i:]
				break
			}
			if i+len(string(r)) == len(s) {
				b.WriteString(s)
				s = ""
			}
		}
	}
	return b.String()
}

func wordRune(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) }

func tokens(folded string) []string {
	return strings.FieldsFunc(folded, func(r rune) bool { return !wordRune(r) })
}

// calm undoes shouting: letters repeated three times or more stand once, words said several
// times in a row stand once.
func calm(tokens []string) []string {
	var out []string
	for _, t := range tokens {
		t = unrepeat(t)
		if len(out) == 0 || out[len(out)-1] != t {
			out = append(out, t)
		}
	}
	return out
}

func unrepeat(token string) string {
	runes := []rune(token)
	var b strings.Builder
	for i := 0; i < len(runes); {
		j := i
		for j < len(runes) && runes[j] == runes[i] {
			j++
		}
		n := j - i
		if n >= 3 && !unicode.IsNumber(runes[i]) {
			n = 1
		}
		for range n {
			b.WriteRune(runes[i])
		}
		i = j
	}
	s := b.String()
	// "stopstop", "stopstopstop"
	for n := 3; n <= len(s)/2; n++ {
		if len(s)%n == 0 && strings.Repeat(s[:n], len(s)/n) == s {
			return s[:n]
		}
	}
	return s
}

// letters says whether every token is one letter: "S T O P".
func letters(tokens []string) bool {
	for _, t := range tokens {
		if len([]rune(t)) != 1 {
			return false
		}
	}
	return len(tokens) > 1
}

// unspaced says whether the text is written in a script that puts no space between words.
func unspaced(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		return unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai)
	})
}

// edits is the Damerau-Levenshtein distance (adjacent swaps count one), by optimal alignment.
func edits(a, b string) int {
	x, y := []rune(a), []rune(b)
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}
