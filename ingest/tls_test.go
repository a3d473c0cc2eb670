package ingest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func writeCertificate(t *testing.T, certFile, keyFile string, serial int64) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(24 * 365 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCertificateReload: a renewed certificate is taken, a broken one is passed over.
func TestCertificateReload(t *testing.T) {
	dir := t.TempDir()
	c := &certificate{certFile: filepath.Join(dir, "c"), keyFile: filepath.Join(dir, "k")}
	if _, err := c.get(nil); err == nil {
		t.Error("there is no certificate yet")
	}
	serial := func() int64 {
		t.Helper()
		pair, err := c.get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return pair.Leaf.SerialNumber.Int64()
	}
	synctest.Test(t, func(t *testing.T) {
		writeCertificate(t, c.certFile, c.keyFile, 1)
		if got := serial(); got != 1 {
			t.Errorf("serial %d", got)
		}
		writeCertificate(t, c.certFile, c.keyFile, 2)
		later := time.Now().Add(time.Hour)
		_ = os.Chtimes(c.certFile, later, later)
		<-time.After(certificateAge) // of the bubble: passes at once
		if got := serial(); got != 2 {
			t.Errorf("after the renewal: serial %d", got)
		}
		if err := os.WriteFile(c.keyFile, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
		later = later.Add(time.Hour)
		_ = os.Chtimes(c.keyFile, later, later)
		<-time.After(certificateAge)
		if got := serial(); got != 2 {
			t.Errorf("with a broken key: serial %d", got)
		}
		if note := c.note(); !strings.Contains(note, "the certificate before is served") {
			t.Errorf("/readyz says %q", note)
		}
		writeCertificate(t, c.certFile, c.keyFile, 3)
		later = later.Add(time.Hour)
		_ = os.Chtimes(c.certFile, later, later)
		<-time.After(certificateAge)
		if got, note := serial(), c.note(); got != 3 || note != "" {
			t.Errorf("after a good one: serial %d, /readyz says %q", got, note)
		}
	})
}
