package ingest_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func dial(t *testing.T, r *running) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", r.Addr(t.Context(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

// status sends the bytes and reads the answer's status; 0 when the connection was closed instead.
func status(t *testing.T, conn net.Conn, request string) int {
	t.Helper()
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// TestSiege: clients that are slow, greedy or endless are sent away, one by one, while others
// are answered.
func TestSiege(t *testing.T) {
	r := start(t, twoEndpoints, "HEED_INGEST_HEADER_TIMEOUT=300ms", "HEED_INGEST_READ_TIMEOUT=300ms", "HEED_INGEST_MAX_HEADER=8KiB")
	const head = "POST /v1/callbacks/open HTTP/1.1\r\nHost: x\r\n"
	for _, c := range []struct {
		name, request string
		want          int
	}{
		{"a header that never ends", head + "X-Slow: ", 408},
		{"a body that never comes", head + "Content-Length: 5\r\n\r\nab", 408},
		{"a body of 100 MB", head + "Content-Length: 104857600\r\n\r\nabc", 413},
		{"a header too large", head + "X-Large: " + strings.Repeat("a", 20<<10) + "\r\n\r\n", 431},
		{"a chunk that is none", head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400},
		{"two lengths", head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\na", 400},
		{"no HTTP", "hello\r\n\r\n", 400},
		{"HTTP/0.9 of long ago", "GET /\r\n\r\n", 400},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := dial(t, r)
			got := status(t, conn, c.request)
			if got != c.want && !(c.want == 408 && got == 0) { // net/http closes without a word where no request was read
				t.Errorf("got %d, want %d", got, c.want)
			}
			if code, answer := r.post(t, "open", "{}"); code != 200 {
				t.Errorf("another client is answered %d %s", code, answer)
			}
		})
	}
	t.Run("chunks without end", func(t *testing.T) {
		conn := dial(t, r)
		if _, err := io.WriteString(conn, head+"Transfer-Encoding: chunked\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		chunk := fmt.Appendf(nil, "%x\r\n%s\r\n", 64<<10, bytes.Repeat([]byte("a"), 64<<10))
		sent := 0
		for sent < 64<<20 {
			n, err := conn.Write(chunk)
			sent += n
			if err != nil {
				break
			}
		}
		if sent >= 64<<20 {
			t.Errorf("%d bytes were taken", sent)
		}
	})
	t.Run("a connection that says nothing", func(t *testing.T) {
		if _, err := dial(t, r).Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want the end", err)
		}
	})
}

// TestLargeHeaders: headers that never end may fill their own room and no other's: more of them
// are sent away, and who has an ordinary one is answered.
func TestLargeHeaders(t *testing.T) {
	r := start(t, twoEndpoints, "HEED_INGEST_MAX_HEADER=64KiB", "HEED_INGEST_MAX_BODY=64KiB", "HEED_INGEST_MAX_IN_FLIGHT=160KiB", "HEED_INGEST_HEADER_TIMEOUT=3s")
	blob := "POST /v1/callbacks/nope HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X-Large: "+strings.Repeat("a", 1000)+"\r\n", 40)
	closed := make(chan error, 8)
	for range 8 { // 320 KiB in all
		conn := dial(t, r)
		go func() {
			_, _ = io.WriteString(conn, blob)
			_, err := conn.Read(make([]byte, 1))
			closed <- err
		}()
	}
	for range 4 { // at least; the rest has its room
		if err := <-closed; err == nil {
			t.Error("a header without end is answered")
		}
	}
	if code, answer := r.post(t, "open", "{}"); code != 200 {
		t.Errorf("another client is answered %d %s", code, answer)
	}
	if code, answer := r.post(t, "open", "{}", "X-Large", strings.Repeat("a", 3000)); code != 200 {
		t.Errorf("a client with an ordinary header is answered %d %s", code, answer)
	}
	for range 4 {
		<-closed // when their time is over
	}
	eventually(t, "the room is free again", func() bool {
		return strings.Contains(pageOf(t, r, "/metrics"), "\nheed_ingest_header_bytes 0\n")
	})
	// A whole one may be as large as it likes, again and again on one connection.
	for range 5 {
		if code, answer := r.post(t, "open", "{}", "X-Large", strings.Repeat("a", 60<<10)); code != 200 {
			t.Errorf("a client with a large header is answered %d %s", code, answer)
		}
	}
}

func TestMaxConnections(t *testing.T) {
	r := start(t, twoEndpoints, "HEED_INGEST_MAX_CONNECTIONS=2")
	first := dial(t, r)
	const request = "POST /v1/callbacks/open HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
	if got := status(t, first, request); got != 200 {
		t.Fatalf("got %d", got)
	}
	second := dial(t, r)
	if got := status(t, second, request); got != 200 {
		t.Fatalf("got %d", got)
	}
	if _, err := dial(t, r).Read(make([]byte, 1)); err == nil {
		t.Error("a third connection is served")
	}
	_ = second.Close()
	eventually(t, "a place is free again", func() bool {
		conn, err := net.Dial("tcp", r.Addr(t.Context(), "data"))
		if err != nil {
			return false
		}
		defer func() { _ = conn.Close() }()
		if _, err := io.WriteString(conn, request); err != nil {
			return false
		}
		_, err = http.ReadResponse(bufio.NewReader(conn), nil)
		return err == nil
	})
}

// certify writes a certificate of its own for localhost, and tells its serial number.
func certify(t *testing.T, certFile, keyFile string, serial int64) *x509.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	write(t, keyFile, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	write(t, certFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// TestTLS: HTTP/2 over TLS, and HTTP/2 without for a proxy in front.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	cert := certify(t, certFile, keyFile, 1)
	r := start(t, twoEndpoints, "HEED_INGEST_TLS_CERT_FILE="+certFile, "HEED_INGEST_TLS_KEY_FILE="+keyFile)
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, ServerName: "localhost"}, ForceAttemptHTTP2: true}}
	t.Cleanup(client.CloseIdleConnections)
	resp, err := client.Post(strings.Replace(r.url, "http:", "https:", 1)+"open", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 || resp.ProtoMajor != 2 {
		t.Errorf("%s %d", resp.Proto, resp.StatusCode)
	}
}

func TestUnencryptedHTTP2(t *testing.T) {
	r := start(t, twoEndpoints)
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	client := &http.Client{Transport: &http.Transport{Protocols: protocols}}
	t.Cleanup(client.CloseIdleConnections)
	for body, want := range map[string]int{"{}": 200, strings.Repeat("a", 1<<20+1): 413} {
		resp, err := client.Post(r.url+"open", "application/json", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want || resp.ProtoMajor != 2 {
			t.Errorf("%s %d, want %d", resp.Proto, resp.StatusCode, want)
		}
	}
}

// TestStop: what was sent before the stop is answered, and answered means kept.
func TestStop(t *testing.T) {
	r := start(t, twoEndpoints, "HEED_INGEST_UNREADY_FOR=200ms")
	accepted := make(chan int)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		n := 0
		for ctx.Err() == nil {
			resp, err := http.Post(r.url+"open", "application/json", strings.NewReader("{}"))
			if err != nil {
				break // the port is closed now
			}
			if resp.StatusCode == 200 {
				n++
			}
			_ = resp.Body.Close()
		}
		accepted <- n
	}()
	eventually(t, "callbacks are kept", func() bool {
		return strings.Contains(pageOf(t, r, "/metrics"), `heed_ingest_callbacks_total{endpoint="open",outcome="appended",provider="kaleyra"} `)
	})
	r.Stop()
	eventually(t, "unready", func() bool { return strings.Contains(pageOf(t, r, "/readyz"), "stopping") })
	if err := r.Wait(); err != nil {
		t.Fatal(err)
	}
	cancel()
	n := <-accepted
	callbacks, _ := r.records(t)
	if len(callbacks) < n || n == 0 {
		t.Errorf("%d were answered 200, %d are kept", n, len(callbacks))
	}
	if left, _ := os.ReadDir(r.spool); len(left) > 3 {
		t.Errorf("in the spool: %v", left)
	}
}
