package schemas

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"strings"
	"sync"
)

// Pseudonymizer turns a person's address into the keyed pseudonym that stands for the person
// in keys, subjects, logs and Redis (design I8). A plain hash of a phone number can be undone
// by trying all numbers; this one can't without the key.
type Pseudonymizer struct {
	keys [][]byte     // newest first
	macs []*sync.Pool // of *mac, one a key: to begin an HMAC costs as much as the rest of it
}

// mac is an HMAC under one key, with room for what goes in and comes out: on the stack it could
// not stay, since a hash is an interface.
type mac struct {
	hash.Hash
	text []byte
	sum  [sha256.Size]byte
}

// end appends the pseudonym of what was written.
func (m *mac) end(b []byte) []byte {
	return pseudonymEncoding.AppendEncode(b, m.Sum(m.sum[:0])[:16])
}

var pseudonymEncoding = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)

// ParsePseudonymKeys reads keys of 64 hex digits (32 bytes), newest first, separated by commas
// or white space.
func ParsePseudonymKeys(s string) (*Pseudonymizer, error) {
	var p Pseudonymizer
	for i, word := range strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' || r == '\n' || r == '\r' || r == '\t' }) {
		key, err := hex.DecodeString(word)
		if err != nil || len(key) != sha256.Size {
			return nil, fmt.Errorf("pseudonym key %d is not 64 hex digits (make one with: openssl rand -hex 32)", i+1)
		}
		p.keys = append(p.keys, key)
		p.macs = append(p.macs, &sync.Pool{New: func() any { return &mac{Hash: hmac.New(sha256.New, key)} }})
	}
	if len(p.keys) == 0 {
		return nil, errors.New("no pseudonym key given (make one with: openssl rand -hex 32)")
	}
	return &p, nil
}

// Of is the person's pseudonym under the newest key: 26 characters, 128 bits.
func (p *Pseudonymizer) Of(kind UserKind, canonical Address) string {
	var text [26]byte
	return string(p.Append(text[:0], kind, canonical))
}

// Append appends Of to b.
func (p *Pseudonymizer) Append(b []byte, kind UserKind, canonical Address) []byte {
	return appendPseudonym(b, p.macs[0], string(kind), string(canonical))
}

// All gives the person's pseudonyms under every active key, newest first: who looks something
// up while a key rotates must look under each.
func (p *Pseudonymizer) All(kind UserKind, canonical Address) []string {
	all := make([]string, len(p.macs))
	for i, mac := range p.macs {
		all[i] = string(appendPseudonym(nil, mac, string(kind), string(canonical)))
	}
	return all
}

// OfPeer is the pseudonym of a network peer.
func (p *Pseudonymizer) OfPeer(addr string) string {
	return string(appendPseudonym(nil, p.macs[0], "peer", addr))
}

// OfRequest stands for a callback that names no person: keyed, because a short body may be
// nothing but a number.
func (p *Pseudonymizer) OfRequest(query string, body []byte) string {
	m := p.macs[0].Get().(*mac)
	defer p.macs[0].Put(m)
	m.Reset()
	m.Write([]byte("request\x00" + query + "\x00"))
	m.Write(body)
	return string(m.end(nil))
}

func appendPseudonym(b []byte, macs *sync.Pool, kind, canonical string) []byte {
	m := macs.Get().(*mac)
	defer macs.Put(m)
	m.Reset()
	m.text = append(m.text[:0], kind...)
	m.text = append(m.text, 0)
	m.text = append(m.text, canonical...)
	m.Write(m.text)
	return m.end(b)
}

// Derive makes a key for another purpose from every active key, newest first. Nothing can be
// told from it about the pseudonyms.
func (p *Pseudonymizer) Derive(purpose string) [][]byte {
	derived := make([][]byte, len(p.keys))
	for i, key := range p.keys {
		h := hmac.New(sha256.New, key)
		h.Write([]byte("derive\x00" + purpose))
		derived[i] = h.Sum(nil)
	}
	return derived
}
