package stream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	"github.com/heedhq/heed/internal/env"
)

// Config says how to reach Kafka.
type Config struct {
	Brokers []string

	TLS      bool
	CAFile   string // empty: the system's
	CertFile string // client certificate, with KeyFile
	KeyFile  string

	Mechanism string // "none" or "" = no SASL
	User      string
	Password  string
}

// The SASL mechanisms.
const (
	saslNone  = "none"
	saslPlain = "PLAIN"
	sasl256   = "SCRAM-SHA-256"
	sasl512   = "SCRAM-SHA-512"
)

// Declare declares the HEED_KAFKA_ variables.
func (c *Config) Declare(v *env.Vars) {
	v.List(&c.Brokers, "HEED_KAFKA_BROKERS", "localhost:9092", "Kafka brokers to start from, host:port, separated by commas.")
	v.Bool(&c.TLS, "HEED_KAFKA_TLS", false, "Speak TLS with the brokers.")
	v.String(&c.CAFile, "HEED_KAFKA_TLS_CA_FILE", "", "PEM file of the authorities that sign the brokers' certificates; empty = the system's.")
	v.String(&c.CertFile, "HEED_KAFKA_TLS_CERT_FILE", "", "PEM file of the client certificate, where the brokers ask for one.")
	v.String(&c.KeyFile, "HEED_KAFKA_TLS_KEY_FILE", "", "PEM file of the client certificate's key.")
	v.Enum(&c.Mechanism, "HEED_KAFKA_SASL_MECHANISM", saslNone, []string{saslNone, saslPlain, sasl256, sasl512}, "How to log in at the brokers.")
	v.String(&c.User, "HEED_KAFKA_SASL_USER", "", "User to log in as.")
	v.Secret(&c.Password, "HEED_KAFKA_SASL_PASSWORD", "Password to log in with.")
}

// security is a Config's TLS and SASL, ready for use.
type security struct {
	tls  *tls.Config
	sasl sasl.Mechanism
}

func (c *Config) security() (security, error) {
	var s security
	var err error
	if s.tls, err = c.tlsConfig(); err != nil {
		return s, err
	}
	switch c.Mechanism {
	case "", saslNone:
		if c.User != "" || c.Password != "" {
			return s, errors.New("HEED_KAFKA_SASL_USER and _PASSWORD need HEED_KAFKA_SASL_MECHANISM")
		}
		return s, nil
	case saslPlain:
		s.sasl = plain.Mechanism{Username: c.User, Password: c.Password}
	case sasl256:
		s.sasl, err = scram.Mechanism(scram.SHA256, c.User, c.Password)
	case sasl512:
		s.sasl, err = scram.Mechanism(scram.SHA512, c.User, c.Password)
	default:
		return s, fmt.Errorf("HEED_KAFKA_SASL_MECHANISM: no such mechanism %q", c.Mechanism)
	}
	if err != nil {
		return s, fmt.Errorf("HEED_KAFKA_SASL_USER or _PASSWORD: %w", err)
	}
	if c.User == "" || c.Password == "" {
		return s, errors.New("HEED_KAFKA_SASL_MECHANISM needs HEED_KAFKA_SASL_USER and HEED_KAFKA_SASL_PASSWORD")
	}
	return s, nil
}

func (c *Config) tlsConfig() (*tls.Config, error) {
	if !c.TLS {
		if c.CAFile != "" || c.CertFile != "" || c.KeyFile != "" {
			return nil, errors.New("HEED_KAFKA_TLS_… files are given, but HEED_KAFKA_TLS is false")
		}
		return nil, nil
	}
	t := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		if err != nil {
			return nil, fmt.Errorf("HEED_KAFKA_TLS_CA_FILE: %w", err)
		}
		t.RootCAs = x509.NewCertPool()
		if !t.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("HEED_KAFKA_TLS_CA_FILE holds no certificate")
		}
	}
	if c.CertFile != "" || c.KeyFile != "" {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("HEED_KAFKA_TLS_CERT_FILE and _KEY_FILE: %w", err)
		}
		t.Certificates = []tls.Certificate{pair}
	}
	return t, nil
}
