package ingest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
)

// TestUnasked: while a handler has a whole request, the read of one byte by which net/http asks
// whether the client is still there is answered at once; every other read, and that one before and
// after, waits for the client.
func TestUnasked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := net.Pipe()
		defer func() { _, _ = client.Close(), server.Close() }()
		conn := &countedConn{Conn: server, places: &places{max: 1}, heads: &inFlight{max: 1 << 20}}
		read := func(size int) (over chan int) {
			over = make(chan int, 1)
			go func() { n, _ := conn.Read(make([]byte, size)); over <- n }()
			synctest.Wait()
			return over
		}
		write := func() {
			if _, err := client.Write([]byte{'x'}); err != nil {
				t.Error(err)
			}
		}
		for _, c := range []struct {
			name   string
			before func()
			size   int
			waits  bool
		}{
			{"before a request", func() {}, 1, true},
			{"a whole request", func() { conn.handed(&http.Request{ProtoMajor: 1, ContentLength: 5}) }, 1, false},
			{"its body", func() {}, 2, true},
			{"the next request", conn.idle, 1, true},
			{"a body of unknown length", func() { conn.handed(&http.Request{ProtoMajor: 1, ContentLength: -1}) }, 1, true},
			{"a frame", func() { conn.handed(&http.Request{ProtoMajor: 2, ContentLength: 5}) }, 1, true},
		} {
			c.before()
			over := read(c.size)
			if c.waits {
				select {
				case n := <-over:
					t.Errorf("%s: the read of %d ended with %d bytes", c.name, c.size, n)
					continue
				default:
				}
				write()
			}
			if n := <-over; (n == 1) != c.waits {
				t.Errorf("%s: %d bytes", c.name, n)
			}
		}
	})
}

// TestUnaskedRequests: over net/http, callbacks one after the other on a connection, also sent before
// the answer to the one before, are answered each.
func TestUnaskedRequests(t *testing.T) {
	h := testHandler(t, testEndpoints, &keeper{kafka: instant{}, after: answerBudget}, io.Discard)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.places.max, h.heads.max = 10, 1<<20
	server := &http.Server{Handler: h, ConnContext: withConnection, ConnState: watchConnection}
	go func() { _ = server.Serve(&boundedListener{Listener: listener, places: &h.places, heads: &h.heads}) }()
	t.Cleanup(func() { _ = server.Close() })
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	answers := bufio.NewReader(conn)
	const callback = "POST /v1/callbacks/open HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
	for _, together := range []int{1, 1, 5, 1, 30} {
		for range together {
			if _, err := io.WriteString(conn, callback); err != nil {
				t.Fatal(err)
			}
		}
		for range together {
			resp, err := http.ReadResponse(answers, nil)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("answered %d", resp.StatusCode)
			}
		}
	}
}
