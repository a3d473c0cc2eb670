package service

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestTokensCheck(t *testing.T) {
	sum := sha256.Sum256([]byte("alpha"))
	file := "tokens:\n- {name: sender, sha256: " + hex.EncodeToString(sum[:]) + ", roles: [check]}\n- {name: boss, token_env: BOSS, roles: [admin]}\n- {name: ops, token_file: /f, roles: [read, write]}\n"
	known, err := parseTokens([]byte(file), func(string) string { return "beta" }, func(string) ([]byte, error) { return []byte("gamma\n"), nil })
	if err != nil {
		t.Fatal(err)
	}
	tokens := &Tokens{known: known}
	for _, c := range []struct {
		header string
		role   Role
		name   string
		status int
	}{
		{"Bearer alpha", RoleCheck, "sender", 0},
		{"Bearer alpha", RoleRead, "", 403},
		{"Bearer beta", RoleExport, "boss", 0},
		{"Bearer gamma", RoleWrite, "ops", 0},
		{"Bearer gamma", RoleAdmin, "", 403},
		{"Bearer alphaa", RoleCheck, "", 401},
		{"Bearer ", RoleCheck, "", 401},
		{"Basic alpha", RoleCheck, "", 401},
		{"", RoleCheck, "", 401},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", c.header)
		name, refused := tokens.Check(r, c.role)
		status := 0
		if refused != nil {
			status = refused.Status
		}
		if name != c.name || status != c.status {
			t.Errorf("Check(%q, %s) = %q, %d; want %q, %d", c.header, c.role, name, status, c.name, c.status)
		}
	}
	if _, refused := new(Tokens).Check(httptest.NewRequest("GET", "/", nil), RoleCheck); refused == nil {
		t.Error("the zero value let somebody in")
	}
}

func TestParseTokensRefuses(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"tokens: []", "the list is empty"},
		{"tokens:\n- {name: a, token: x, roles: [check]}", "field token not found"},
		{"tokens:\n- {name: a, sha256: 12, roles: [check]}", "64 hex digits"},
		{"tokens:\n- {name: a, roles: [check]}", "exactly one of"},
		{"tokens:\n- {name: a, token_env: X, token_file: y, roles: [check]}", "exactly one of"},
		{"tokens:\n- {name: a, token_env: X}", "roles is missing"},
		{"tokens:\n- {name: a, token_env: X, roles: [sudo]}", "no such role"},
		{"tokens:\n- {name: a, token_env: X, roles: [read]}\n- {name: a, token_env: X, roles: [read]}", "is taken"},
		{"tokens:\n- {token_env: X, roles: [read]}", "name is missing"},
		{"tokens:\n- {name: a, token_env: NONE, roles: [read]}", "NONE is not set"},
		{"tokens:\n- {name: a, token_file: /none, roles: [read]}", "not readable"},
	} {
		_, err := parseTokens([]byte(c.file),
			func(name string) string {
				if name == "X" {
					return "hunter2"
				}
				return ""
			},
			func(string) ([]byte, error) { return nil, errors.New("no such file") })
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s\ngave %v, want an error with %q", c.file, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the error shows a token: %v", err)
		}
	}
}

func TestAPIWithoutTokensNeedsLoopback(t *testing.T) {
	for _, c := range []struct {
		listen string
		open   bool
		ok     bool
	}{
		{"127.0.0.1:8082", false, true},
		{"[::1]:8082", false, true},
		{"localhost:0", false, true},
		{":8082", false, false},
		{"0.0.0.0:8082", false, false},
		{"10.1.2.3:8082", false, false},
		{":8082", true, true},
	} {
		if _, err := (API{Open: c.open}).Tokens(c.listen); (err == nil) != c.ok {
			t.Errorf("Tokens(%q) open=%v: %v", c.listen, c.open, err)
		}
	}
}
