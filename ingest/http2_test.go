package ingest_test

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// http2Client speaks HTTP/2 frame by frame (RFC 9113 §4.1), to do what no client does.
type http2Client struct {
	t    *testing.T
	conn net.Conn
	next uint32 // stream
}

const (
	frameHeaders, frameReset, frameSettings = 1, 3, 4
	endStream, endHeaders                   = 1, 4
)

// speakHTTP2 opens a connection whose windows have the given size: what it lets the server send
// as a body.
func speakHTTP2(t *testing.T, r *running, window uint32) *http2Client {
	t.Helper()
	c := &http2Client{t: t, conn: dial(t, r), next: 1}
	if _, err := io.WriteString(c.conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	c.write(frameSettings, 0, 0, binary.BigEndian.AppendUint32([]byte{0, 4}, window)) // SETTINGS_INITIAL_WINDOW_SIZE
	return c
}

func (c *http2Client) write(kind, flags byte, stream uint32, payload []byte) {
	c.t.Helper()
	head := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	head = binary.BigEndian.AppendUint32(append(head, flags), stream)
	if _, err := c.conn.Write(append(head, payload...)); err != nil {
		c.t.Fatal(err)
	}
}

// post begins a POST; the stream's number.
func (c *http2Client) post(path string, flags byte) uint32 {
	c.t.Helper()
	stream := c.next
	c.next += 2
	// HPACK: :method POST and :scheme http of the static table, :path and :authority in plain letters.
	block := append([]byte{0x83, 0x86, 0x04, byte(len(path))}, path...)
	block = append(block, 0x01, 1, 'x')
	c.write(frameHeaders, endHeaders|flags, stream, block)
	return stream
}

// read gives the next frame that is not about the connection.
func (c *http2Client) read() (kind, flags byte, stream uint32) {
	c.t.Helper()
	for {
		var head [9]byte
		if _, err := io.ReadFull(c.conn, head[:]); err != nil {
			c.t.Fatal(err)
		}
		length := binary.BigEndian.Uint32(head[:]) >> 8
		if _, err := io.CopyN(io.Discard, c.conn, int64(length)); err != nil {
			c.t.Fatal(err)
		}
		if stream = binary.BigEndian.Uint32(head[5:]); stream != 0 {
			return head[3], head[4], stream
		}
	}
}

// TestHTTP2Crowd: thousands of requests fit on one HTTP/2 connection, so each takes a place:
// those whose body doesn't end, and those whose answer is never taken, of unknown endpoints, too.
func TestHTTP2Crowd(t *testing.T) {
	for name, c := range map[string]struct {
		path  string
		flags byte // of the request's HEADERS
	}{
		"bodies that never end":           {"/v1/callbacks/open", 0},
		"answers that are never taken":    {"/v1/callbacks/nope", endStream},
		"both":                            {"/v1/callbacks/nope", 0},
		"answers of an address elsewhere": {"/nowhere", endStream},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, twoEndpoints, "HEED_INGEST_MAX_CONNECTIONS=4", patient)
			client := speakHTTP2(t, r, 0)
			for range 3 { // with the connection: 4 places
				client.post(c.path, c.flags)
			}
			eventually(t, "all places are taken", func() bool {
				return strings.Contains(pageOf(t, r, "/metrics"), "\nheed_ingest_places 4\n")
			})
			refused := client.post("/v1/callbacks/open", endStream)
			for {
				kind, flags, stream := client.read()
				if stream == refused && kind == frameHeaders {
					if flags&endStream == 0 {
						t.Error("who finds no place is answered with a body, which can wait for ever")
					}
					break
				}
			}
			if !strings.Contains(pageOf(t, r, "/metrics"), "\nheed_ingest_places_refused_total 1\n") {
				t.Error("a refusal is not counted")
			}
			for stream := uint32(1); stream < refused; stream += 2 {
				client.write(frameReset, 0, stream, []byte{0, 0, 0, 8})
			}
			eventually(t, "the places are free again", func() bool {
				return strings.Contains(pageOf(t, r, "/metrics"), "\nheed_ingest_places 1\n")
			})
			served := client.post("/v1/callbacks/open", endStream)
			for {
				kind, flags, stream := client.read()
				if stream == served && kind == frameHeaders {
					if flags&endStream == 0 {
						t.Error("a place is free, but the answer is none of a kept callback")
					}
					break
				}
			}
			if callbacks, _ := r.records(t); len(callbacks) != 1 {
				t.Errorf("%d callbacks are kept", len(callbacks))
			}
		})
	}
}

// TestHTTP2Reset: streams that are taken back as soon as they are made (CVE-2023-44487) cost
// others nothing, and write nothing.
func TestHTTP2Reset(t *testing.T) {
	r := start(t, twoEndpoints, patient)
	client := speakHTTP2(t, r, 65535)
	go func() { _, _ = io.Copy(io.Discard, client.conn) }()
	for range 5000 {
		stream := client.next
		client.next += 2
		block := append([]byte{0x83, 0x86, 0x04, 18}, "/v1/callbacks/open"...)
		frames := binary.BigEndian.AppendUint32(nil, uint32(len(block))<<8|frameHeaders)
		frames = append(binary.BigEndian.AppendUint32(append(frames, endHeaders), stream), block...)
		frames = append(binary.BigEndian.AppendUint32(append(frames, 0, 0, 4, frameReset, 0), stream), 0, 0, 0, 8)
		if _, err := client.conn.Write(frames); err != nil {
			break // sent away: as good
		}
	}
	if code, answer := r.post(t, "open", "{}"); code != 200 {
		t.Errorf("another client is answered %d %s", code, answer)
	}
	_ = client.conn.Close()
	http.DefaultClient.CloseIdleConnections()
	eventually(t, "no place is held", func() bool {
		return strings.Contains(pageOf(t, r, "/metrics"), "\nheed_ingest_places 0\n")
	})
	if callbacks, _ := r.records(t); len(callbacks) != 1 {
		t.Errorf("%d callbacks are kept", len(callbacks))
	}
}
