package service

import (
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/heedhq/heed/internal/env"
)

// Role is what a token's owner may do with an API.
type Role string

// The roles. RoleAdmin holds all the others; else each stands for itself.
const (
	RoleCheck  Role = "check"  // ask "may I send to this person?"
	RoleRead   Role = "read"   // see states, histories, subscriptions, attempts
	RoleWrite  Role = "write"  // change them
	RoleExport Role = "export" // take everything at once
	RoleAdmin  Role = "admin"
)

var roles = []Role{RoleCheck, RoleRead, RoleWrite, RoleExport, RoleAdmin}

// API is the configuration that every API of ours shares: who may call it.
type API struct {
	TokensFile string
	Open       bool
}

// Declare declares the variables.
func (a *API) Declare(v *env.Vars) {
	v.String(&a.TokensFile, "HEED_API_TOKENS_FILE", "", "File of the API's tokens: tokens: [{name, sha256 | token_env | token_file, roles: [check, read, write, export, admin]}]. Without it the API starts only on a loopback address or with HEED_API_OPEN=true.")
	v.Bool(&a.Open, "HEED_API_OPEN", false, "Serve the API to everybody who reaches its address, without tokens.")
}

// Tokens says who may call an API. The zero value lets nobody in.
type Tokens struct {
	open  bool
	known []token
}

type token struct {
	name  string
	sum   [sha256.Size]byte
	roles []Role
}

// Tokens reads the tokens' file. Without one it refuses an address that others can reach,
// unless the operator said that the API is open.
func (a API) Tokens(listen string) (*Tokens, error) {
	if a.TokensFile != "" {
		data, err := os.ReadFile(a.TokensFile)
		if err != nil {
			return nil, fmt.Errorf("HEED_API_TOKENS_FILE: %w", err)
		}
		known, err := parseTokens(data, os.Getenv, os.ReadFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", a.TokensFile, err)
		}
		return &Tokens{known: known}, nil
	}
	if a.Open || loopback(listen) {
		return &Tokens{open: true}, nil
	}
	return nil, fmt.Errorf("the API would listen on %q for everybody: name its tokens in HEED_API_TOKENS_FILE, or listen on a loopback address (HEED_LISTEN=127.0.0.1:PORT), or say HEED_API_OPEN=true", listen)
}

// loopback says whether only this machine reaches the address.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// parseTokens reads the file's text; the values of token_env and token_file come by getenv and
// read. A token itself never stands in the file, nor in an error.
func parseTokens(data []byte, getenv func(string) string, read func(string) ([]byte, error)) ([]token, error) {
	var file struct {
		Tokens []struct {
			Name      string `yaml:"name"`
			SHA256    string `yaml:"sha256"`
			TokenEnv  string `yaml:"token_env"`
			TokenFile string `yaml:"token_file"`
			Roles     []Role `yaml:"roles"`
		} `yaml:"tokens"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var known []token
	var wrong []error
	for i, entry := range file.Tokens {
		bad := func(format string, args ...any) {
			wrong = append(wrong, fmt.Errorf("tokens[%d] (name %q): %s", i, entry.Name, fmt.Sprintf(format, args...)))
		}
		one := token{name: entry.Name, roles: entry.Roles}
		if entry.Name == "" {
			bad("name is missing")
		}
		if slices.ContainsFunc(known, func(t token) bool { return t.name == entry.Name }) {
			bad("the name is taken by an entry above")
		}
		if len(entry.Roles) == 0 {
			bad("roles is missing: want some of %v", roles)
		}
		for _, role := range entry.Roles {
			if !slices.Contains(roles, role) {
				bad("roles: no such role %q: want some of %v", role, roles)
			}
		}
		value, ways := "", 0
		if entry.SHA256 != "" {
			ways++
			sum, err := hex.DecodeString(entry.SHA256)
			if err != nil || len(sum) != sha256.Size {
				bad("sha256 is not 64 hex digits (make it with: printf %%s TOKEN | sha256sum)")
			}
			copy(one.sum[:], sum)
		}
		if entry.TokenEnv != "" {
			ways++
			if value = getenv(entry.TokenEnv); value == "" {
				bad("token_env: %s is not set", entry.TokenEnv)
			}
		}
		if entry.TokenFile != "" {
			ways++
			text, err := read(entry.TokenFile)
			if value = strings.TrimSpace(string(text)); err != nil || value == "" {
				bad("token_file: %s is empty or not readable", entry.TokenFile)
			}
		}
		if ways != 1 {
			bad("want exactly one of sha256, token_env, token_file")
		}
		if value != "" {
			one.sum = sha256.Sum256([]byte(value))
		}
		known = append(known, one)
	}
	if len(file.Tokens) == 0 {
		wrong = append(wrong, errors.New("tokens: the list is empty, nobody could call the API"))
	}
	return known, errors.Join(wrong...)
}

// Refusal is why a request is not let in.
type Refusal struct {
	Status int    // 401: no token, or one that nobody has; 403: its roles do not include this
	Code   string // "no_token", "wrong_token", "no_role"
	Detail string
}

func (r *Refusal) Error() string { return r.Detail }

// Check says under which name the request may act in the role, or why not. It takes as long for
// a wrong token as for a right one.
func (t *Tokens) Check(r *http.Request, role Role) (name string, refused *Refusal) {
	if t.open {
		return "anybody", nil
	}
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok || given == "" {
		return "", &Refusal{http.StatusUnauthorized, "no_token", "send the API token as Authorization: Bearer TOKEN"}
	}
	sum := sha256.Sum256([]byte(given))
	var found *token
	for i := range t.known {
		if subtle.ConstantTimeCompare(sum[:], t.known[i].sum[:]) == 1 {
			found = &t.known[i]
		}
	}
	switch {
	case found == nil:
		return "", &Refusal{http.StatusUnauthorized, "wrong_token", "nobody has this token"}
	case !slices.Contains(found.roles, role) && !slices.Contains(found.roles, RoleAdmin):
		return "", &Refusal{http.StatusForbidden, "no_role", fmt.Sprintf("the token of %s lacks the role %s", found.name, role)}
	}
	return found.name, nil
}
