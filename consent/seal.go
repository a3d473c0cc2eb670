package consent

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/heedhq/heed/schemas"
)

// sealer encrypts addresses that stand on the facts: AES-256-GCM under a key derived from the
// pseudonym key, bound to the person, with a nonce that is a MAC of the content, so the same
// act gives the same bytes each time it is read. Whoever has the facts or Redis but not the key
// sees no address.
type sealer struct {
	keys []sealKey // newest first
}

type sealKey struct {
	id    [4]byte
	nonce []byte // key of the nonce's MAC
	aead  cipher.AEAD
}

var errSealed = errors.New("the sealed address was made with a key that is not known")

func newSealer(p *schemas.Pseudonymizer) (*sealer, error) {
	s := &sealer{}
	nonces := p.Derive("consent seal nonce")
	for i, key := range p.Derive("consent seal") {
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, err
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(key)
		s.keys = append(s.keys, sealKey{id: [4]byte(sum[:4]), nonce: nonces[i], aead: aead})
	}
	return s, nil
}

// sealed is what is encrypted.
type sealed struct {
	Address string           `json:"a"`
	Kind    schemas.UserKind `json:"k"`
}

func (s *sealer) seal(person string, u *schemas.User) (string, error) {
	if u == nil {
		return "", nil
	}
	plain, err := json.Marshal(sealed{string(u.Address), u.Kind})
	if err != nil {
		return "", err
	}
	k := s.keys[0]
	mac := hmac.New(sha256.New, k.nonce)
	mac.Write([]byte(person))
	mac.Write([]byte{0})
	mac.Write(plain)
	nonce := mac.Sum(nil)[:k.aead.NonceSize()]
	out := append(append([]byte{}, k.id[:]...), nonce...)
	return base64.RawStdEncoding.EncodeToString(k.aead.Seal(out, nonce, plain, []byte(person))), nil
}

// open gives the address back; nil without error when there is none.
func (s *sealer) open(person, text string) (*schemas.User, error) {
	if text == "" {
		return nil, nil
	}
	data, err := base64.RawStdEncoding.DecodeString(text)
	if err != nil || len(data) < 4 {
		return nil, errSealed
	}
	for _, k := range s.keys {
		if [4]byte(data[:4]) != k.id || len(data) < 4+k.aead.NonceSize() {
			continue
		}
		nonce := data[4 : 4+k.aead.NonceSize()]
		plain, err := k.aead.Open(nil, nonce, data[4+k.aead.NonceSize():], []byte(person))
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errSealed, err)
		}
		var one sealed
		if err := json.Unmarshal(plain, &one); err != nil {
			return nil, err
		}
		return &schemas.User{Address: schemas.Address(one.Address), Kind: one.Kind}, nil
	}
	return nil, errSealed
}
