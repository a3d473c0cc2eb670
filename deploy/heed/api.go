package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/heedhq/heed/schemas"
)

// apiFlags declares the flags of a client of one of our APIs, and gives a function that calls
// it: method, path and body in, the answer's JSON into out.
func (c *call) apiFlags(base string) (ask func(ctx context.Context, method, path string, body, out any) error, asJSON *bool) {
	c.flags.StringVar(&base, "url", base, "`BASE` URL of the API")
	tokenEnv := c.flags.String("token-env", "", "`NAME` of the environment variable that holds the API token")
	tokenFile := c.flags.String("token-file", "", "`PATH` of the file that holds the API token")
	limit := c.flags.Duration("timeout", 15*time.Second, "how long to wait")
	asJSON = c.flags.Bool("json", false, "print the API's answer as it is")
	return func(ctx context.Context, method, path string, body, out any) error {
		token := ""
		switch {
		case *tokenEnv != "":
			if token = c.getenv(*tokenEnv); token == "" {
				return usage("the environment has no %s", *tokenEnv)
			}
		case *tokenFile != "":
			data, err := os.ReadFile(*tokenFile)
			if err != nil {
				return err
			}
			token = strings.TrimSpace(string(data))
		}
		ctx, cancel := context.WithTimeout(ctx, *limit)
		defer cancel()
		answer, err := request(ctx, method, strings.TrimRight(base, "/")+path, token, body)
		if err != nil {
			return err
		}
		if *asJSON {
			var b bytes.Buffer
			if err := json.Indent(&b, answer, "", "  "); err != nil {
				return err
			}
			fmt.Fprintln(c.out, strings.TrimSpace(b.String()))
		}
		return json.Unmarshal(answer, out)
	}, asJSON
}

// request asks once. A problem document comes back as its words.
func request(ctx context.Context, method, url, token string, body any) ([]byte, error) {
	var content io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		return nil, usage("%v", err)
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the API does not answer: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode/100 == 2 {
		return data, nil
	}
	var p schemas.Problem
	_ = json.Unmarshal(data, &p)
	what := cmp.Or(p.Detail, p.Title, "no reason given")
	if resp.StatusCode == http.StatusUnauthorized {
		what += " (say --token-env or --token-file)"
	}
	return nil, fmt.Errorf("the API answers %s: %s", resp.Status, what)
}

// scopeWords is a scope in words; an empty one is everything.
func scopeWords(s schemas.ConsentScope) string {
	var words []string
	for _, w := range []struct{ name, value string }{{"brand", s.Brand}, {"agent", s.Agent}, {"channel", string(s.Channel)}, {"category", s.Category}} {
		if w.value != "" {
			words = append(words, w.name+" "+w.value)
		}
	}
	if len(words) == 0 {
		return "everything"
	}
	return strings.Join(words, ", ")
}

func moment(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}
