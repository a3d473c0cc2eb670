package stream

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// Requests go through kafka-go's Transport for its connections, TLS and SASL, but route and
// write themselves (protocol.RawExchanger). The Transport would otherwise answer metadata
// from a cache of its own, drop the producer id of a batch, and decode fetches at three
// times the cost (no CRC check for some of them).

// anyBroker routes a request to whichever broker the bootstrap list gives.
const anyBroker int32 = -1

// correlation is the correlation id of every request: a connection carries one at a time.
const correlation int32 = 1

// routed sends one of kafka-go's own message types to a broker of our choice.
type routed struct {
	protocol.Message
	broker   int32
	clientID string
	version  int16
}

// Broker implements protocol.BrokerMessage.
func (r *routed) Broker(protocol.Cluster) (protocol.Broker, error) {
	return protocol.Broker{ID: r.broker}, nil
}

// Required implements protocol.RawExchanger.
func (r *routed) Required(versions map[protocol.ApiKey]int16) bool {
	r.version = versions[r.ApiKey()]
	return true
}

// RawExchange implements protocol.RawExchanger.
func (r *routed) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	m, err := protocol.RoundTrip(rw, r.version, correlation, r.clientID, r.Message)
	if err != nil {
		return nil, err
	}
	return answer{m}, nil
}

// answer hides the type of a response from the Transport, which would start to wait for
// metadata of its own when it sees that topics were created.
type answer struct{ protocol.Message }

// ask sends one of kafka-go's messages to a broker and returns its response.
func ask[T protocol.Message](ctx context.Context, c *Client, broker int32, m protocol.Message) (T, error) {
	var none T
	r, err := c.roundTrip(ctx, &routed{Message: m, broker: broker, clientID: c.clientID})
	if err != nil {
		return none, err
	}
	return r.(answer).Message.(T), nil
}

// exchange is a request that writes itself and reads its response from the connection. When
// its round trip fails, for instance because its context has ended, the connection may still be
// at it for a moment: nobody may touch then what write, large and read refer to.
type exchange struct {
	key    protocol.ApiKey
	broker int32
	write  []byte   // the request, with its size, but for
	large  []insert // what is not worth copying into it
	read   func(r *responseReader) error
}

// insert is a part of a request that stands in a buffer of its own.
type insert struct {
	at    int // where in the rest of the request it belongs
	bytes []byte
}

// ApiKey implements protocol.Message.
func (x *exchange) ApiKey() protocol.ApiKey { return x.key }

// Broker implements protocol.BrokerMessage.
func (x *exchange) Broker(protocol.Cluster) (protocol.Broker, error) {
	return protocol.Broker{ID: x.broker}, nil
}

// Required implements protocol.RawExchanger.
func (x *exchange) Required(map[protocol.ApiKey]int16) bool { return true }

// RawExchange implements protocol.RawExchanger.
func (x *exchange) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	from := 0
	for _, part := range x.large {
		if _, err := rw.Write(x.write[from:part.at]); err != nil {
			return nil, err
		}
		if _, err := rw.Write(part.bytes); err != nil {
			return nil, err
		}
		from = part.at
	}
	if from < len(x.write) {
		if _, err := rw.Write(x.write[from:]); err != nil {
			return nil, err
		}
	}
	r := &responseReader{r: rw, left: 8}
	size := r.int32()
	if id := r.int32(); r.err == nil && id != correlation {
		return nil, fmt.Errorf("the broker answered request %d, not %d", id, correlation)
	}
	if r.err != nil {
		return nil, r.err
	}
	if size < 4 || size > maxResponse {
		return nil, fmt.Errorf("a response of %d bytes", size)
	}
	r.left = int(size) - 4
	if err := x.read(r); err != nil {
		return nil, err
	}
	if r.err != nil {
		return nil, r.err
	}
	return x, r.discard()
}

// maxResponse refuses what only a broken peer would send: a fetch asks for far less.
const maxResponse = 512 << 20

// responseReader reads the fields of a response from a connection, never beyond its end.
type responseReader struct {
	r    io.Reader
	left int
	buf  [8]byte
	err  error
}

var errShortResponse = errors.New("a response ends inside a field")

func (r *responseReader) take(n int) []byte {
	if r.err == nil && n > r.left {
		r.err = errShortResponse
	}
	if r.err != nil {
		clear(r.buf[:])
		return r.buf[:n]
	}
	r.left -= n
	if _, err := io.ReadFull(r.r, r.buf[:n]); err != nil {
		r.err = err
		clear(r.buf[:])
	}
	return r.buf[:n]
}

func (r *responseReader) int16() int16 { return int16(be.Uint16(r.take(2))) }
func (r *responseReader) int32() int32 { return int32(be.Uint32(r.take(4))) }
func (r *responseReader) int64() int64 { return int64(be.Uint64(r.take(8))) }

// count reads the length of an array; null is none. Each element takes at least one byte.
func (r *responseReader) count() int {
	n := int(r.int32())
	if n > r.left && r.err == nil {
		r.err = errShortResponse
	}
	if r.err != nil || n < 0 {
		return 0
	}
	return n
}

// bytes reads n bytes into into.
func (r *responseReader) bytes(into []byte) {
	if r.err == nil && len(into) > r.left {
		r.err = errShortResponse
	}
	if r.err != nil {
		return
	}
	r.left -= len(into)
	_, r.err = io.ReadFull(r.r, into)
}

// text reads a string; null is "".
func (r *responseReader) text() string {
	n := int(r.int16())
	if n <= 0 || r.err != nil {
		return ""
	}
	if n > r.left {
		r.err = errShortResponse
		return ""
	}
	b := make([]byte, n)
	r.bytes(b)
	return string(b)
}

// discard reads what is left: fields of a newer version that we don't know.
func (r *responseReader) discard() error {
	_, err := io.CopyN(io.Discard, r.r, int64(r.left))
	return err
}

// requestHeader starts a request; finishRequest sets its size.
func requestHeader(b []byte, key protocol.ApiKey, version int16, clientID string) []byte {
	b = append(b, 0, 0, 0, 0)
	b = be.AppendUint16(b, uint16(key))
	b = be.AppendUint16(b, uint16(version))
	b = be.AppendUint32(b, uint32(correlation))
	return appendText(b, clientID)
}

func finishRequest(b []byte, large ...insert) []byte {
	size := len(b) - 4
	for i := range large {
		size += len(large[i].bytes)
	}
	be.PutUint32(b, uint32(size))
	return b
}

func appendText(b []byte, s string) []byte {
	b = be.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

// roundTrip sends a request through the Transport and notes that a broker has answered.
func (c *Client) roundTrip(ctx context.Context, m protocol.Message) (protocol.Message, error) {
	r, err := c.transport.RoundTrip(ctx, c.bootstrap, m)
	if err == nil {
		c.answered.Store(now().UnixNano())
		return r, nil
	}
	if errors.Is(err, kafka.BrokerNotAvailable) {
		// The Transport does not know this broker yet, and asks again only by its timer: with
		// a fresh pool it asks at once.
		c.transport.CloseIdleConnections()
	}
	return nil, err
}
