package stream

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Event is a CloudEvents 1.0 event as Heed's stages hold it.
type Event struct {
	ID          string
	Source      string
	Type        string
	Subject     string
	Time        time.Time
	DataSchema  string
	ContentType string // datacontenttype; empty when there are no data
	Extensions  []Extension
	Data        []byte
}

// Extension is one extension attribute; all of ours are strings.
type Extension struct{ Name, Value string }

// Extension is the value of the named extension attribute, "" if there is none.
func (e *Event) Extension(name string) string {
	for i := range e.Extensions {
		if e.Extensions[i].Name == name {
			return e.Extensions[i].Value
		}
	}
	return ""
}

// SetExtension sets an extension attribute; an empty value removes it, since CloudEvents has no
// empty attributes.
func (e *Event) SetExtension(name, value string) {
	i := slices.IndexFunc(e.Extensions, func(x Extension) bool { return x.Name == name })
	switch {
	case i < 0 && value == "":
	case i < 0:
		e.Extensions = append(e.Extensions, Extension{name, value})
	case value == "":
		e.Extensions = slices.Delete(e.Extensions, i, i+1)
	default:
		e.Extensions[i].Value = value
	}
}

const (
	headerPrefix      = "ce_" // CloudEvents Kafka binding 3.2.1
	headerContentType = "content-type"
	specVersion       = "1.0"
)

// Message is the event as a Kafka message in binary mode (CloudEvents Kafka binding 3.2). The
// header values share one buffer, and so do the names of extensions: an event has fifteen or so,
// and every event passes here.
func (e *Event) Message(topic string, key []byte) Message {
	var few [16]string
	return Message{Topic: topic, Key: key, Value: e.Data, Headers: e.headers(headerNames(few[:0], e.Extensions))}
}

// Messages makes messages of many events, most of which have the extensions of the one before:
// it remembers their header names. It writes a message as it will stand in a batch, so that the
// writer only copies it: half the time of Event.Message with the writer's encoding, a third of the
// memory, and nothing in it for the garbage collector to follow. The zero Messages is ready; it is
// for one goroutine.
type Messages struct {
	extensions []string
	names      []string // of all attributes' headers, as they stand in a record
	namesSize  int
}

// Of is Event.Message, with more headers after the event's, in one piece of memory: neither the
// event nor the key is needed after it. That is memory, the Memory of a message that was
// acknowledged, where it is large enough, else a new one. The message's Headers are empty; Plain
// shows them.
func (m *Messages) Of(memory []byte, e *Event, topic string, key []byte, more ...Header) Message {
	if m.names == nil || !slices.EqualFunc(m.extensions, e.Extensions, func(name string, x Extension) bool { return name == x.Name }) {
		m.extensions = m.extensions[:0]
		for i := range e.Extensions {
			m.extensions = append(m.extensions, e.Extensions[i].Name)
		}
		m.names, m.namesSize = m.names[:0], 0
		e.attributes(headerNames(nil, e.Extensions), func(header, _ string) {
			m.names = append(m.names, string(appendString(nil, header)))
			m.namesSize += len(m.names[len(m.names)-1])
		})
	}
	if size := m.size(e, key, more); cap(memory) < size {
		memory = make([]byte, 0, (size+memoryStep-1)/memoryStep*memoryStep)
	}
	b := appendBytes(memory[:0], key)
	keyEnd := len(b)
	b = appendBytes(b, e.Data)
	valueEnd := len(b)
	b = appendLength(b, e.headerCount()+len(more))
	names := m.names
	e.attributes(m.extensions, func(_, value string) {
		if value != "" {
			b = appendString(append(b, names[0]...), value)
		}
		names = names[1:]
	})
	if !e.Time.IsZero() {
		var at [len(time.RFC3339Nano)]byte
		b = appendBytes(appendString(b, headerTime), e.Time.UTC().AppendFormat(at[:0], time.RFC3339Nano))
	}
	for i := range more {
		b = appendString(b, more[i].Key)
		b = appendBytes(b, more[i].Value)
	}
	made := Message{Topic: topic, content: b}
	if key != nil {
		made.Key = b[keyEnd-len(key) : keyEnd : keyEnd]
	}
	if e.Data != nil {
		made.Value = b[valueEnd-len(e.Data) : valueEnd : valueEnd]
	}
	return made
}

// memoryStep is what the memory of a message is a multiple of, so that it fits most of the next.
const memoryStep = 256

// size is at least what Of writes.
func (m *Messages) size(e *Event, key []byte, more []Header) int {
	const length = 3 // of what is below 1 MiB
	n := len(key) + len(e.Data) + 3*binary.MaxVarintLen32 + m.namesSize + 1 + len(headerTime) + e.headerSize() + (len(m.names)+1+2*len(more))*length
	for i := range more {
		n += len(more[i].Key) + len(more[i].Value)
	}
	return n
}

// headerSize is at least the length of all header values.
func (e *Event) headerSize() int {
	size := len(specVersion) + len(e.ID) + len(e.Source) + len(e.Type) + len(e.Subject) + len(time.RFC3339Nano) + len(e.DataSchema) + len(e.ContentType)
	for i := range e.Extensions {
		size += len(e.Extensions[i].Value)
	}
	return size
}

// headerNames appends the header names of extensions, which share one string.
func headerNames(names []string, extensions []Extension) []string {
	size := 0
	for i := range extensions {
		size += len(headerPrefix) + len(extensions[i].Name)
	}
	var all strings.Builder
	all.Grow(size)
	for i := range extensions {
		from := all.Len()
		all.WriteString(headerPrefix)
		all.WriteString(extensions[i].Name)
		names = append(names, all.String()[from:])
	}
	return names
}

// attributes puts every attribute but the time, by its header's name; names are those of the
// extensions' headers.
func (e *Event) attributes(names []string, put func(header, value string)) {
	put("ce_specversion", specVersion)
	put("ce_id", e.ID)
	put("ce_source", e.Source)
	put("ce_type", e.Type)
	put("ce_subject", e.Subject)
	put("ce_dataschema", e.DataSchema)
	for i := range e.Extensions {
		put(names[i], e.Extensions[i].Value)
	}
	put(headerContentType, e.ContentType)
}

// headerCount is how many headers the event has.
func (e *Event) headerCount() int {
	n := 1
	for _, value := range [...]*string{&e.ID, &e.Source, &e.Type, &e.Subject, &e.DataSchema, &e.ContentType} {
		if *value != "" {
			n++
		}
	}
	for i := range e.Extensions {
		if e.Extensions[i].Value != "" {
			n++
		}
	}
	if !e.Time.IsZero() {
		n++
	}
	return n
}

const headerTime = headerPrefix + "time"

// headers are the event's; their values share one buffer.
func (e *Event) headers(names []string) []Header {
	values := make([]byte, 0, e.headerSize())
	headers := make([]Header, 0, e.headerCount())
	e.attributes(names, func(header, value string) {
		if value != "" {
			from := len(values)
			values = append(values, value...)
			headers = append(headers, Header{header, values[from:len(values):len(values)]})
		}
	})
	if !e.Time.IsZero() {
		from := len(values)
		values = e.Time.UTC().AppendFormat(values, time.RFC3339Nano)
		headers = append(headers, Header{headerTime, values[from:len(values):len(values)]})
	}
	return headers
}

// ErrNotEvent says that a record is no CloudEvent in binary mode.
var ErrNotEvent = errors.New("the record is not a CloudEvent in binary mode")

// ParseEvent reads a record as an event in binary mode. The event's data point into the record.
func ParseEvent(r *Record) (Event, error) {
	var e Event
	version := ""
	for i := range r.Headers {
		h := &r.Headers[i]
		if strings.EqualFold(h.Key, headerContentType) {
			e.ContentType = string(h.Value)
			continue
		}
		name, ok := strings.CutPrefix(h.Key, headerPrefix)
		if !ok {
			continue
		}
		value := string(h.Value)
		switch name {
		case "specversion":
			version = value
		case "id":
			e.ID = value
		case "source":
			e.Source = value
		case "type":
			e.Type = value
		case "subject":
			e.Subject = value
		case "dataschema":
			e.DataSchema = value
		case "time":
			t, err := time.Parse(time.RFC3339Nano, value)
			if err != nil {
				return Event{}, fmt.Errorf("%w: ce_time is not RFC 3339", ErrNotEvent)
			}
			e.Time = t
		default:
			e.SetExtension(name, value)
		}
	}
	if version != specVersion || e.ID == "" || e.Source == "" || e.Type == "" {
		return Event{}, fmt.Errorf("%w: specversion, id, source and type are required", ErrNotEvent)
	}
	e.Data = r.Value
	return e, nil
}

// EventType is the CloudEvents type of a record in binary mode, without reading anything else.
func EventType(r *Record) string { return string(r.Header("ce_type")) }

// FormatTime writes a time as CloudEvents and Heed's data do: RFC 3339, UTC, as many digits as
// needed.
func FormatTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// Structured is the event in the CloudEvents JSON format (structured mode). Data of a JSON
// content type stand as JSON, everything else as data_base64.
func (e *Event) Structured() []byte {
	b := make([]byte, 0, 512+len(e.Data)*4/3)
	b = append(b, `{"specversion":"1.0"`...)
	add := func(name, value string) {
		if value != "" {
			b = append(b, ',', '"')
			b = append(b, name...)
			b = append(b, '"', ':')
			b = appendJSONString(b, value)
		}
	}
	add("id", e.ID)
	add("source", e.Source)
	add("type", e.Type)
	add("subject", e.Subject)
	if !e.Time.IsZero() {
		add("time", FormatTime(e.Time))
	}
	add("dataschema", e.DataSchema)
	for _, x := range e.Extensions {
		add(x.Name, x.Value)
	}
	add("datacontenttype", e.ContentType)
	switch {
	case e.Data == nil:
	case isJSON(e.ContentType):
		b = append(b, `,"data":`...)
		b = append(b, e.Data...)
	default:
		data, _ := json.Marshal(e.Data)
		b = append(b, `,"data_base64":`...)
		b = append(b, data...)
	}
	return append(b, '}')
}

func isJSON(contentType string) bool {
	media, _, _ := strings.Cut(contentType, ";")
	media = strings.ToLower(strings.TrimSpace(media))
	return media == "application/json" || strings.HasSuffix(media, "+json") || media == "text/json"
}

func appendJSONString(b []byte, s string) []byte {
	plain := utf8.ValidString(s)
	for i := 0; plain && i < len(s); i++ {
		plain = s[i] >= ' ' && s[i] != '"' && s[i] != '\\'
	}
	if plain {
		b = append(b, '"')
		b = append(b, s...)
		return append(b, '"')
	}
	quoted, _ := json.Marshal(s)
	return append(b, quoted...)
}
