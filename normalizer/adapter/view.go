package adapter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"
)

// View is one callback as a tree of values, whatever it came as: JSON, a form, multipart or the
// query of a GET. Order, digits and double names are kept; names lose outer blanks. An adapter
// takes what it knows by name; what nobody took is the event's provider_data.
type View struct {
	Repaired []string // what was mended, for Data.Repaired

	src         string
	names       string // those that held escapes, without them
	nodes       []node
	sharedGiven bool                         // an envelope that is too long for every item was given to one
	index       map[uint32]map[string]uint32 // see byName
	scratch     []byte                       // of Rest
	rests       []byte                       // what Rest gave, one after the other
	memory      *Memory                      // that it is in; nil: in none
	root        [1]Node                      // of Items
	numbered    map[uint32][]uint32          // see doubles
}

// Root is the callback's outermost value; for a query or a form an object of strings.
func (v *View) Root() Node { return Node{v, 0} }

func (v *View) name(i uint32) string {
	d := &v.nodes[i]
	if d.flags&escapedName != 0 {
		return v.names[d.nameAt : d.nameAt+d.nameLen]
	}
	return v.src[d.nameAt : d.nameAt+d.nameLen]
}

// byName finds the members of a wide object by their names, the last of a name that stands twice.
func (v *View) byName(i uint32) map[string]uint32 {
	if known, ok := v.index[i]; ok {
		return known
	}
	last := map[string]uint32{}
	for c, end := i+1, v.nodes[i].next; c < end; c = v.nodes[c].next {
		last[v.name(c)] = c
	}
	if v.index == nil {
		v.index = map[uint32]map[string]uint32{}
	}
	v.index[i] = last
	return last
}

// Read gives the callback's view: of its body, or of its query when there is no body. What the
// bytes are is decided by the bytes as much as by Content-Type, since providers label JSON as
// forms and the other way about.
func Read(raw Raw) (*View, *Failure) {
	plain, f := unpack(&raw.Request)
	if f != nil {
		return nil, f
	}
	body, repaired := raw.Memory.text(plain)
	body = withoutLeadingBlanks(body) // not its end: a blank there tells that a last number is whole
	if body == "" {
		if query := raw.Request.Query(); query != "" {
			query, repaired = raw.Memory.text([]byte(query))
			return readForm(raw.Memory.take(), query, repaired)
		}
		return nil, &Failure{Index: WholeCallback, Class: Empty, Message: "neither a body nor a query"}
	}
	v := raw.Memory.take()
	media, params := "", map[string]string(nil)
	if body[0] != '{' && body[0] != '[' {
		media, params = mediaType(raw.Request.Get("Content-Type"))
	}
	switch {
	case body[0] == '{' || body[0] == '[':
		f = v.parse(body)
	case strings.HasPrefix(body, "--") && (strings.HasPrefix(media, "multipart/") || strings.Contains(body, "form-data")):
		// the raw bytes, not the mended text: a part may be a file
		v, f = readMultipart(v, plain, params["boundary"])
	case media == "application/x-www-form-urlencoded" || looksLikeForm(strings.TrimSpace(body)):
		return readForm(v, strings.TrimSpace(body), repaired)
	default:
		f = v.parse(body)
	}
	if f != nil {
		return nil, f
	}
	v.Repaired = slices.Concat(repaired, v.Repaired)
	return v, nil
}

// withoutLeadingBlanks is s from the first byte that JSON does not pass by (RFC 8259 §2).
func withoutLeadingBlanks(s string) string {
	i := 0
	for i < len(s) && (s[i] == ' ' || s[i] == '\t' || s[i] == '\r' || s[i] == '\n') {
		i++
	}
	return s[i:]
}

func mediaType(contentType string) (string, map[string]string) {
	media, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		media, _, _ = strings.Cut(strings.ToLower(contentType), ";")
	}
	return media, params
}

// ReadQuery gives the view of the query alone, nil when there is none: for providers whose
// customers may put a part of the callback there.
func ReadQuery(raw Raw) *View {
	query, repaired := raw.Memory.text([]byte(raw.Request.Query()))
	if query == "" {
		return nil
	}
	v, f := readForm(new(View), query, repaired)
	if f != nil {
		return nil
	}
	return v
}

// ReadJSON gives the view of JSON that stood inside of something else (base64, a form field).
func ReadJSON(b []byte) (*View, *Failure) {
	s, repaired := (*Memory)(nil).text(b)
	if s = withoutLeadingBlanks(s); s == "" {
		return nil, &Failure{Index: WholeCallback, Class: Empty, Message: "the inner body is empty"}
	}
	v, f := parseView(s)
	if f != nil {
		return nil, f
	}
	v.Repaired = slices.Concat(repaired, v.Repaired)
	return v, nil
}

func parseView(s string) (*View, *Failure) {
	v := new(View)
	if f := v.parse(s); f != nil {
		return nil, f
	}
	return v, nil
}

// parse makes v, which is empty, the view of s.
func (v *View) parse(s string) *Failure {
	p := parser{src: s, nodes: v.nodes}
	if f := p.parse(); f != nil {
		return f
	}
	v.src, v.names, v.nodes, v.Repaired = s, string(p.names), p.nodes, p.repairs
	return nil
}

// Object is the root, when it is an object.
func (v *View) Object() (Node, *Failure) {
	if root := v.Root(); root.IsObject() {
		return root, nil
	}
	return Node{}, &Failure{Index: WholeCallback, Class: Malformed, Message: "the body is JSON, but not an object"}
}

// text is b as UTF-8 without a byte order mark. UTF-16 is known by its mark, or by the zero
// byte beside an ASCII first character (RFC 4627 §3). What needs no change is not copied where there
// is a Memory: its user has the bytes for as long as the result.
func (m *Memory) text(b []byte) (string, []string) {
	switch {
	case bytes.HasPrefix(b, []byte("\xef\xbb\xbf")):
		b = b[3:]
	case bytes.HasPrefix(b, []byte("\xff\xfe")):
		return fromUTF16(b[2:], 0, 1)
	case bytes.HasPrefix(b, []byte("\xfe\xff")):
		return fromUTF16(b[2:], 1, 0)
	case len(b) >= 2 && b[0] != 0 && b[1] == 0:
		return fromUTF16(b, 0, 1)
	case len(b) >= 2 && b[0] == 0 && b[1] != 0:
		return fromUTF16(b, 1, 0)
	}
	if !utf8.Valid(b) {
		return strings.ToValidUTF8(string(b), "\ufffd"), []string{RepairInvalidUTF8}
	}
	if m == nil {
		return string(b), nil
	}
	return unsafe.String(unsafe.SliceData(b), len(b)), nil
}

func fromUTF16(b []byte, low, high int) (string, []string) {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = uint16(b[2*i+low]) | uint16(b[2*i+high])<<8
	}
	s := string(utf16.Decode(units))
	if len(b)%2 != 0 || strings.ContainsRune(s, utf8.RuneError) {
		return s, []string{RepairInvalidUTF8}
	}
	return s, nil
}

// looksLikeForm says whether an unlabelled body is a form: name=value, nothing that a form
// would have escaped.
func looksLikeForm(s string) bool {
	name, _, ok := strings.Cut(s, "=")
	return ok && name != "" && !strings.ContainsAny(name, "<>\"{} \n") && !strings.ContainsAny(s, "<>\"\n")
}

// readForm reads a=b&c=d. A form that is nothing but escaped JSON is read as that JSON.
func readForm(v *View, s string, repaired []string) (*View, *Failure) {
	if strings.HasPrefix(s, "%7B") || strings.HasPrefix(s, "%7b") {
		if f := v.parse(strings.TrimSuffix(strings.TrimSpace(string(appendUnescaped(nil, s))), "=")); f == nil {
			v.Repaired = slices.Concat(repaired, v.Repaired)
			return v, nil
		}
	}
	b := make([]byte, 0, len(s)+len(s)/4+16)
	b = append(b, '{')
	var plain []byte
	pairs := 0
	for pair := range strings.SplitSeq(s, "&") {
		name, value, _ := strings.Cut(pair, "=")
		if pair == "" {
			continue
		}
		if pairs++; pairs > MaxValues {
			return nil, tooManyValues()
		}
		plain = appendUnescaped(plain[:0], name)
		end := len(plain)
		plain = appendUnescaped(plain, value)
		b = appendPair(b, plain[:end], plain[end:])
	}
	return finishPairs(v, b, repaired)
}

func appendPair(b, name, value []byte) []byte {
	if len(b) > 1 {
		b = append(b, ',')
	}
	b = append(appendQuoted(b, name), ':')
	return appendQuoted(b, value)
}

func finishPairs(v *View, b []byte, repaired []string) (*View, *Failure) {
	if len(b) == 1 {
		return nil, &Failure{Index: WholeCallback, Class: Empty, Message: "a form without fields"}
	}
	if !utf8.Valid(b) { // only now, for all: 60,000 pairs of it would cost 10 ms one by one
		b = bytes.ToValidUTF8(b, []byte("\ufffd"))
		if !slices.Contains(repaired, RepairInvalidUTF8) {
			repaired = append(repaired, RepairInvalidUTF8)
		}
	}
	if f := v.parse(string(append(b, '}'))); f != nil {
		return nil, f
	}
	v.Repaired = repaired
	return v, nil
}

// appendUnescaped appends what a form's s stands for, as url.QueryUnescape has it; a broken escape
// stays as it stands.
func appendUnescaped(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+':
			b = append(b, ' ')
		case s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b = append(b, fromHex(s[i+1])<<4|fromHex(s[i+2]))
			i += 2
		default:
			b = append(b, s[i])
		}
	}
	return b
}

// maxParts is how many parts a multipart body may have, as in net/http; a call's status has 20. Each
// takes 1 µs and 1 KiB to read, a hundred times as much as a pair of a form.
const maxParts = 1000

// readMultipart reads multipart/form-data; a boundary that the header lost is that of the first
// line. Of a file part name, type and size are kept (its bytes stay in the raw record).
func readMultipart(v *View, body []byte, boundary string) (*View, *Failure) {
	body = bytes.TrimLeft(body, " \t\r\n")
	if boundary == "" || !bytes.HasPrefix(body, []byte("--"+boundary)) {
		line, _, _ := bytes.Cut(body, []byte("\n"))
		boundary = strings.TrimPrefix(strings.TrimSpace(string(line)), "--")
	}
	bad := func(what string) *Failure {
		return &Failure{Index: WholeCallback, Class: Malformed, Message: "the multipart body is broken: " + what}
	}
	if boundary == "" || len(boundary) > 70 { // RFC 2046 §5.1.1
		return nil, bad("no usable boundary")
	}
	r := multipart.NewReader(bytes.NewReader(body), boundary)
	b := []byte{'{'}
	for parts := 0; ; parts++ {
		if parts > maxParts {
			return nil, &Failure{Index: WholeCallback, Class: TooLarge, Message: fmt.Sprintf("the multipart body has more than %d parts", maxParts)}
		}
		part, err := r.NextRawPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, bad("a part can't be read")
		}
		data, err := io.ReadAll(part)
		if err != nil {
			return nil, bad("a part has no end")
		}
		value := string(data)
		if file := part.FileName(); file != "" {
			value = file + " (" + part.Header.Get("Content-Type") + ", " + strconv.Itoa(len(data)) + " bytes)"
		}
		b = appendPair(b, []byte(part.FormName()), []byte(value))
	}
	return finishPairs(v, b, nil)
}

// Finish ends an item: what nobody took of n, and of the envelope around it, becomes
// provider_data, repairs are recorded, and an item without any id of the provider is known by
// its content. with is as for Rest.
func (v *View) Finish(it *Item, n Node, with ...Node) {
	it.Data.ProviderData = v.Rest(n, with...)
	it.Data.Repaired = v.Repaired
	if it.Data.MessageID == "" && it.Data.EventID == "" {
		it.Fingerprint = n.Raw()
	}
}
