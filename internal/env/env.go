// Package env reads a program's configuration from HEED_ variables: typed, documented, strict.
// Every program declares its variables here and nowhere else reads the environment, so --help
// is the whole reference and cannot lie.
//
// It refuses a HEED_ name that no stage knows, reports all that is wrong at once, and never
// prints a secret.
package env

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

const prefix = "HEED_"

// Vars is the set of variables that one program declares.
type Vars struct {
	vars []variable
}

type variable struct {
	name, def, help string
	required        bool
	instead         string // the variable that may be given in its place (NAME_FILE)
	set             func(string) error
}

func (v *Vars) add(name, def, help string, set func(string) error) {
	for _, known := range v.vars {
		if known.name == name {
			panic("env: " + name + " is declared twice")
		}
	}
	v.vars = append(v.vars, variable{name: name, def: def, help: help, set: set})
}

// Required marks a declared variable as one that must be given.
func (v *Vars) Required(name string) {
	for i := range v.vars {
		if v.vars[i].name == name {
			v.vars[i].required = true
			return
		}
	}
	panic("env: " + name + " is not declared")
}

// String declares a text variable.
func (v *Vars) String(p *string, name, def, help string) {
	v.add(name, def, help, func(s string) error { *p = s; return nil })
}

// Bool declares a variable that is true or false.
func (v *Vars) Bool(p *bool, name string, def bool, help string) {
	v.add(name, strconv.FormatBool(def), help, func(s string) (err error) {
		if *p, err = strconv.ParseBool(s); err != nil {
			return fmt.Errorf("want true or false, got %q", s)
		}
		return nil
	})
}

// Int declares a whole number of at least min.
func (v *Vars) Int(p *int, name string, def, min int, help string) {
	v.add(name, strconv.Itoa(def), help, func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < min {
			return fmt.Errorf("want a whole number of at least %d, got %q", min, s)
		}
		*p = n
		return nil
	})
}

// Duration declares a positive time span such as 15s or 750ms.
func (v *Vars) Duration(p *time.Duration, name string, def time.Duration, help string) {
	v.add(name, def.String(), help, func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return fmt.Errorf("want a time span such as 15s or 750ms, got %q", s)
		}
		*p = d
		return nil
	})
}

// Size declares a number of bytes such as 1MiB or 512KiB.
func (v *Vars) Size(p *int64, name, def, help string) {
	v.add(name, def, help, func(s string) (err error) {
		*p, err = ParseSize(s)
		return err
	})
}

// Enum declares a variable that takes one of a few words.
func (v *Vars) Enum(p *string, name, def string, words []string, help string) {
	v.add(name, def, help+" One of: "+strings.Join(words, ", ")+".", func(s string) error {
		if !slices.Contains(words, s) {
			return fmt.Errorf("want one of %s, got %q", strings.Join(words, ", "), s)
		}
		*p = s
		return nil
	})
}

// List declares words separated by commas.
func (v *Vars) List(p *[]string, name, def, help string) {
	v.add(name, def, help, func(s string) error {
		*p = nil
		for word := range strings.SplitSeq(s, ",") {
			if word = strings.TrimSpace(word); word != "" {
				*p = append(*p, word)
			}
		}
		return nil
	})
}

// Secret declares name, and name_FILE for the path of a file that holds the value (as mounted
// secrets do); one of the two may be given. The value is never printed.
func (v *Vars) Secret(p *string, name, help string) {
	v.add(name, "", help, func(s string) error { *p = s; return nil })
	v.vars[len(v.vars)-1].instead = name + "_FILE"
	v.add(name+"_FILE", "", "File that holds "+name+".", func(path string) error {
		if path == "" {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if *p = strings.TrimSpace(string(data)); *p == "" {
			return fmt.Errorf("%s is empty", path)
		}
		return nil
	})
}

// Parse sets every declared variable from environ ("NAME=value") or its default. known lists
// the names of all stages. The error names everything that is wrong.
func (v *Vars) Parse(environ, known []string) error {
	given := map[string]string{}
	var wrong []error
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, prefix) || ofTheTests(name) {
			continue
		}
		given[name] = value
		if !slices.Contains(known, name) && !v.declares(name) {
			wrong = append(wrong, fmt.Errorf("%s: no such variable%s", name, suggest(name, known)))
		}
	}
	for _, one := range v.vars {
		value := given[one.name] // set but empty counts as not set, as in a compose file
		if value != "" && one.instead != "" && given[one.instead] != "" {
			wrong = append(wrong, fmt.Errorf("%s and %s are both set: give one of them", one.name, one.instead))
			continue
		}
		if value == "" {
			if one.required && given[one.instead] == "" {
				name := one.name
				if one.instead != "" {
					name += " or " + one.instead
				}
				wrong = append(wrong, fmt.Errorf("%s is not set: %s", name, one.help))
				continue
			}
			value = one.def
		}
		if err := one.set(value); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", one.name, err))
		}
	}
	return errors.Join(wrong...)
}

// ofTheTests names the variables of a test run (test/stack): they stand in a developer's
// environment and mean nothing to a program.
func ofTheTests(name string) bool {
	return name == "HEED_REAL" || strings.HasPrefix(name, "HEED_TEST_")
}

func (v *Vars) declares(name string) bool {
	return slices.ContainsFunc(v.vars, func(one variable) bool { return one.name == name })
}

// Names lists the declared names, sorted.
func (v *Vars) Names() []string {
	names := make([]string, 0, len(v.vars))
	for _, one := range v.vars {
		names = append(names, one.name)
	}
	sort.Strings(names)
	return names
}

// Help prints the reference of all declared variables.
func (v *Vars) Help(w io.Writer) {
	for _, one := range v.vars {
		note := ""
		switch {
		case one.required && one.instead != "":
			note = " (required, here or by " + one.instead + ")"
		case one.required:
			note = " (required)"
		case one.def != "":
			note = " (default " + one.def + ")"
		}
		fmt.Fprintf(w, "  %s%s\n", one.name, note)
		for _, line := range wrap(one.help, 84) {
			fmt.Fprintf(w, "      %s\n", line)
		}
	}
}

// ParseSize reads a number of bytes: 1048576, 512KiB, 1MiB, 2GiB.
func ParseSize(s string) (int64, error) {
	for i, unit := range []string{"KiB", "MiB", "GiB"} {
		if digits, ok := strings.CutSuffix(s, unit); ok {
			n, err := strconv.ParseInt(digits, 10, 33)
			if err != nil || n < 0 {
				return 0, fmt.Errorf("want a size such as 1MiB or 512KiB, got %q", s)
			}
			return n << (10 * (i + 1)), nil
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("want a size such as 1MiB or 512KiB, got %q", s)
	}
	return n, nil
}

func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines, line = append(lines, line), ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// suggest names the known variable that differs from name in at most three letters.
func suggest(name string, known []string) string {
	best, at := "", 4
	for _, k := range known {
		if d := distance(name, k); d < at {
			best, at = k, d
		}
	}
	if best == "" {
		return " (see --help)"
	}
	return " (did you mean " + best + "?)"
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}
