package stack

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const serverPEM = "server.pem" // key and certificate, as Kafka wants them: in one file

// makeCertificates makes an authority, a certificate for the brokers on loopback and one for a
// client, valid for a day.
func (c *Cluster) makeCertificates(dir string) error {
	now := time.Now()
	template := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
			BasicConstraintsValid: true,
		}
	}
	authority := template(1, "Heed test authority")
	authority.IsCA, authority.KeyUsage = true, x509.KeyUsageCertSign
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	// issue returns a key and a certificate for it, signed by the authority, both in PEM.
	issue := func(cert *x509.Certificate, key *ecdsa.PrivateKey) (keyPEM, certPEM []byte, err error) {
		der, err := x509.CreateCertificate(rand.Reader, cert, authority, key.Public(), authorityKey)
		if err != nil {
			return nil, nil, err
		}
		pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			return nil, nil, err
		}
		return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
			pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
	}
	_, authorityPEM, err := issue(authority, authorityKey)
	if err != nil {
		return err
	}
	server := template(2, "localhost")
	server.DNSNames, server.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	server.KeyUsage, server.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	client := template(3, User)
	client.KeyUsage, client.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}

	var pairs [2][2][]byte
	for i, cert := range []*x509.Certificate{server, client} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		if pairs[i][0], pairs[i][1], err = issue(cert, key); err != nil {
			return err
		}
	}
	c.CA = filepath.Join(dir, "ca.pem")
	c.ClientKey, c.ClientCert = filepath.Join(dir, "client.key.pem"), filepath.Join(dir, "client.pem")
	for path, data := range map[string][]byte{
		c.CA:                          authorityPEM,
		filepath.Join(dir, serverPEM): slices.Concat(pairs[0][0], pairs[0][1]),
		c.ClientKey:                   pairs[1][0],
		c.ClientCert:                  pairs[1][1],
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
