package signature

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // HMAC-SHA1 is what some senders have
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"
	"sync"
)

// macKey is a key with hashes that are keyed already: keying costs as much as hashing 128 bytes,
// and a hash that is Reset keeps it.
type macKey struct{ hashes sync.Pool }

type keyed struct {
	hash.Hash
	sum []byte
}

func newMACKey(algorithm string, key []byte) (*macKey, error) {
	var make func() hash.Hash
	switch algorithm {
	case "sha256":
		make = sha256.New
	case "sha512":
		make = sha512.New
	case "sha1":
		make = sha1.New
	default:
		return nil, fmt.Errorf("algorithm %q is not known", algorithm)
	}
	m := &macKey{}
	m.hashes.New = func() any { return &keyed{Hash: hmac.New(make, key)} }
	return m, nil
}

// equal compares digest with the MAC of the parts, in constant time.
func (m *macKey) equal(digest []byte, parts ...[]byte) bool {
	k := m.hashes.Get().(*keyed)
	defer m.hashes.Put(k)
	k.Reset()
	for _, p := range parts {
		_, _ = k.Write(p)
	}
	k.sum = k.Sum(k.sum[:0])
	return hmac.Equal(k.sum, digest)
}

// mac is the MAC of the parts.
func (m *macKey) mac(parts ...[]byte) []byte {
	k := m.hashes.Get().(*keyed)
	defer m.hashes.Put(k)
	k.Reset()
	for _, p := range parts {
		_, _ = k.Write(p)
	}
	return k.Sum(nil)
}

// anyKey tries the keys in turn. Which of them matched may show in the time; no secret does.
func anyKey(keys []*macKey, digest []byte, parts ...[]byte) bool {
	for _, k := range keys {
		if k.equal(digest, parts...) {
			return true
		}
	}
	return false
}
