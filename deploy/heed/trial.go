package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/heedhq/heed/ingest/signature"
	"github.com/heedhq/heed/schemas"
)

func trialCommands() []command {
	return []command{
		{
			name: "listen", usage: "[ADDR] [--status N,N...] [--delay D] [--secret-env NAME]",
			short: "be a subscriber: print every delivery, check its signature, answer as told",
			help: `ADDR is 127.0.0.1:8090 when not given. Every delivery prints one line: how it was answered, the signature's
verdict, the event's type, id and data. It understands binary, structured and batch deliveries and answers
the CloudEvents handshake. To see retries, answer with a failure: --status 503,503,200 fails twice, then takes.`,
			run: func(ctx context.Context, c *call) error { return c.listen(ctx) },
		},
		{
			name: "send", usage: "--to URL [--scheme S --secret-env NAME ...] FILE.http...",
			short: "be a provider: send captured requests, signed as the provider would",
			help: `FILE.http is a request as it came: request line, headers, empty line, body (the form of the golden cases and
of dead letters). Method, query, headers and body go out as they stand; the path is the URL's, where it has
one. Prints the answer to each; exit 1 when one was not taken (2xx).`,
			run: func(ctx context.Context, c *call) error { return c.send(ctx) },
		},
		{
			name: "probe", usage: "URL [--timeout D]",
			short: "exit 0 when the URL answers 2xx; for container health checks",
			run:   func(ctx context.Context, c *call) error { return c.probe(ctx) },
		},
	}
}

func (c *call) probe(ctx context.Context) error {
	limit := c.flags.Duration("timeout", 3*time.Second, "how long to wait")
	if err := c.parse(1, 1); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.args[0], nil)
	if err != nil {
		return usage("%v", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil {
		return err
	}
	fmt.Fprintf(c.out, "%s %s\n", resp.Status, bytes.TrimSpace(body))
	if resp.StatusCode/100 != 2 {
		return errQuiet
	}
	return nil
}

// secretFlags declares the flags that name a secret; secrets reads it. A secret is never an
// argument: those show in process lists and shell histories.
func (c *call) secretFlags() (secrets func() ([]schemas.Secret, error)) {
	name := c.flags.String("secret-env", "", "`NAME` of the environment variable that holds the secret")
	path := c.flags.String("secret-file", "", "`PATH` of the file that holds the secret")
	return func() ([]schemas.Secret, error) {
		switch {
		case *name != "":
			value := c.getenv(*name)
			if value == "" {
				return nil, usage("the environment has no %s", *name)
			}
			return []schemas.Secret{schemas.NewSecret(value)}, nil
		case *path != "":
			value, err := os.ReadFile(*path)
			if err != nil {
				return nil, err
			}
			return []schemas.Secret{schemas.NewSecret(strings.TrimSpace(string(value)))}, nil
		}
		return nil, nil
	}
}

func (c *call) send(ctx context.Context) error {
	var v schemas.Verify
	to := c.flags.String("to", "", "`URL` to send to; without a path the file's own is used")
	c.flags.Func("scheme", "how to sign: bearer, basic, header, hmac, telesign, exotel, mobtexting, meta, google-rbm, standard-webhooks", func(s string) error { v.Scheme = schemas.Scheme(s); return nil })
	c.flags.StringVar(&v.User, "user", "", "basic: the user; the secret is the password")
	c.flags.StringVar(&v.CustomerID, "customer-id", "", "telesign: the customer's id")
	c.flags.StringVar(&v.Header, "header", "", "header, hmac: the header's `NAME`")
	c.flags.StringVar(&v.Algorithm, "algorithm", "sha256", "hmac: sha256, sha512 or sha1")
	c.flags.StringVar(&v.Encoding, "encoding", "hex", "hmac: hex or base64")
	c.flags.StringVar(&v.Prefix, "prefix", "", "hmac: what stands before the digest, such as sha256=")
	times := c.flags.Int("times", 1, "how often to send each")
	limit := c.flags.Duration("timeout", 30*time.Second, "how long to wait for each answer")
	secrets := c.secretFlags()
	if err := c.parse(1, -1); err != nil {
		return err
	}
	target, err := url.Parse(*to)
	if err != nil || target.Host == "" {
		return usage("--to wants a URL such as http://127.0.0.1:8080/v1/callbacks/ID")
	}
	if v.Secrets, err = secrets(); err != nil {
		return err
	}
	if v.Scheme == "" {
		v.Scheme = schemas.SchemeNone
		if len(v.Secrets) > 0 {
			return usage("a secret is given, but no --scheme to use it")
		}
	}
	refused := false
	for _, file := range c.args {
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		capture, err := schemas.ParseCapture(data)
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for range *times {
			start := time.Now()
			status, answer, err := deliver(ctx, capture, target, v, *limit)
			if err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
			fmt.Fprintf(c.out, "%s  %s  %d ms  %s\n", status, file, time.Since(start).Milliseconds(), answer)
			refused = refused || !strings.HasPrefix(status, "2")
		}
	}
	if refused {
		return errQuiet
	}
	return nil
}

// deliver sends one captured request and gives the answer's status and the head of its body.
func deliver(ctx context.Context, capture schemas.Capture, target *url.URL, v schemas.Verify, limit time.Duration) (status, answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	at := *target
	own, err := url.ParseRequestURI(capture.Target)
	if err != nil {
		return "", "", fmt.Errorf("the request line's target: %w", err)
	}
	if strings.Trim(at.Path, "/") == "" {
		at.Path, at.RawPath = own.Path, own.RawPath
	}
	if at.RawQuery == "" {
		at.RawQuery = own.RawQuery
	}
	req, err := http.NewRequestWithContext(ctx, capture.Method, at.String(), bytes.NewReader(capture.Body))
	if err != nil {
		return "", "", err
	}
	for _, f := range capture.Header {
		switch http.CanonicalHeaderKey(f.Name) {
		case "Host", "Content-Length", "Connection", "Transfer-Encoding":
		default:
			if f.Value != schemas.Redacted {
				req.Header.Add(f.Name, f.Value)
			}
		}
	}
	now := time.Now()
	if err := signature.Sign(v, req.Header, capture.Body, "msg_"+strconv.FormatInt(now.UnixNano(), 36), now); err != nil {
		return "", "", err
	}
	resp, err := http.DefaultTransport.RoundTrip(req) // no redirects: a provider follows none
	if err != nil {
		return "", "", err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 2<<10))
	return resp.Status, strings.TrimSpace(string(body)), err
}
