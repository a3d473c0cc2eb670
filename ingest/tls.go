package ingest

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

func loadCertificate(certFile, keyFile string) (*tls.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, fmt.Errorf("certificate and key can't be read: %w", err)
	}
	return &pair, nil
}

// certificate serves the certificate of two files, as they are: renewed ones are taken up
// within certificateAge, broken ones are passed over for the one before.
type certificate struct {
	certFile, keyFile string

	mu      sync.Mutex
	broken  error // why the files, as they are, are not served
	current *tls.Certificate
	stamp   [2]time.Time
	looked  time.Time
}

const certificateAge = 10 * time.Second

// get implements tls.Config.GetCertificate.
func (c *certificate) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if c.current != nil && now.Sub(c.looked) < certificateAge {
		return c.current, nil
	}
	c.looked = now
	stamp := [2]time.Time{modified(c.certFile), modified(c.keyFile)}
	if c.current != nil && stamp == c.stamp {
		return c.current, nil
	}
	fresh, err := loadCertificate(c.certFile, c.keyFile)
	if err != nil {
		c.broken = err
		if c.current != nil {
			return c.current, nil // half written, perhaps; the next look takes it
		}
		return nil, err
	}
	c.current, c.stamp, c.broken = fresh, stamp, nil
	return fresh, nil
}

// note is what /readyz says of files that can't be served, and of a certificate that is over.
func (c *certificate) note() string {
	_, _ = c.get(nil) // so that it shows without a client, too
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.broken != nil:
		return "the certificate before is served: " + c.broken.Error()
	case c.current != nil && time.Now().After(c.current.Leaf.NotAfter):
		return "the certificate is not valid since " + c.current.Leaf.NotAfter.UTC().Format(time.RFC3339)
	}
	return ""
}

func modified(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
