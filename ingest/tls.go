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
		if c.current != nil {
			return c.current, nil // half written, perhaps; the next look takes it
		}
		return nil, err
	}
	c.current, c.stamp = fresh, stamp
	return fresh, nil
}

func modified(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}
