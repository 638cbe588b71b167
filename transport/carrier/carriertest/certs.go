package carriertest

// Certificates, signed by authorities of the test's own.

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/transport/carrier"
)

// CA is an authority. Its methods end the test where they fail.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

// NewCA makes an authority.
func NewCA(tb testing.TB) *CA {
	tb.Helper()
	return signed(tb, newKey(tb), time.Now().Add(-time.Hour))
}

func signed(tb testing.TB, key *ecdsa.PrivateKey, from time.Time) *CA {
	tb.Helper()
	cert := &x509.Certificate{
		SerialNumber: serial(tb), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: from, NotAfter: time.Now().Add(24 * time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err == nil {
		cert, err = x509.ParseCertificate(der)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return &CA{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// Again is the same authority with a certificate that is valid from then on.
func (a *CA) Again(tb testing.TB, from time.Time) *CA {
	tb.Helper()
	return signed(tb, a.key, from)
}

// Files are where a certificate, its key and its authority are. Renewing writes them
// again.
type Files struct{ CA, Cert, Key string }

// Certificates are those files as penstock.LinkTLS takes them.
func (f Files) Certificates() carrier.Certificates {
	return carrier.Certificates{CA: f.CA, Cert: f.Cert, Key: f.Key}
}

// TLS is what is made of them.
func (f Files) TLS(tb testing.TB) *carrier.TLS {
	tb.Helper()
	t, err := carrier.NewTLS(f.Certificates())
	if err != nil {
		tb.Fatal(err)
	}
	return t
}

// Issue writes a certificate for names, DNS names or URIs, that ends after life, into a
// directory of the test's.
func (a *CA) Issue(tb testing.TB, life time.Duration, names ...string) Files {
	tb.Helper()
	dir := tb.TempDir()
	f := Files{filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")}
	a.Renew(tb, f, life, names...)
	return f
}

// Renew writes another certificate of this authority into those files.
func (a *CA) Renew(tb testing.TB, f Files, life time.Duration, names ...string) {
	tb.Helper()
	key := newKey(tb)
	cert := &x509.Certificate{
		SerialNumber: serial(tb), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(life),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, name := range names {
		if u, err := url.Parse(name); err == nil && strings.Contains(name, "://") {
			cert.URIs = append(cert.URIs, u)
			continue
		}
		cert.DNSNames = append(cert.DNSNames, name)
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, key.Public(), a.key)
	if err != nil {
		tb.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	a.write(tb, f.Key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	a.write(tb, f.Cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	a.Trust(tb, f)
}

// Trust makes the authority the only one of those files.
func (a *CA) Trust(tb testing.TB, f Files) {
	tb.Helper()
	a.write(tb, f.CA, a.pem)
}

// write replaces a file as a whole, by one that was ready for a while: it need not be
// waited for.
func (a *CA) write(tb testing.TB, name string, text []byte) {
	tb.Helper()
	err := os.WriteFile(name+".new", text, 0o600)
	if err == nil {
		at := time.Now().Add(-time.Minute)
		err = os.Chtimes(name+".new", at, at)
	}
	if err == nil {
		err = os.Rename(name+".new", name)
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func newKey(tb testing.TB) *ecdsa.PrivateKey {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

func serial(tb testing.TB) *big.Int {
	tb.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		tb.Fatal(err)
	}
	return n
}
