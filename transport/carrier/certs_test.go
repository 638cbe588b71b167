package carrier_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
	"github.com/penstock-io/penstock/transport/carrier/carriertest"
)

// Promise: what is wrong with certificates is said, all of it, and before they are used.
func TestCertificatesAreChecked(t *testing.T) {
	ca := carriertest.NewCA(t)
	good := ca.Issue(t, time.Hour, "a.example")
	broken := ca.Issue(t, time.Hour, "a.example")
	if err := os.WriteFile(broken.CA, []byte("none"), 0o600); err != nil {
		t.Fatal(err)
	}
	mixed := good
	mixed.Key = ca.Issue(t, time.Hour, "a.example").Key
	get := func() (*tls.Certificate, error) { return nil, errors.New("away") }
	for name, c := range map[string]struct {
		certs carrier.Certificates
		says  string
	}{
		"nothing":          {carrier.Certificates{}, "whom to trust"},
		"no key":           {carrier.Certificates{CA: good.CA, Cert: good.Cert}, "needs its key"},
		"both and nobody":  {carrier.Certificates{Cert: good.Cert, Key: good.Key, GetCertificate: get}, "whom to trust"},
		"both":             {carrier.Certificates{Cert: good.Cert, Key: good.Key, GetCertificate: get}, "one of them"},
		"no such file":     {carrier.Certificates{CA: good.CA + "x"}, "no such file"},
		"no certificate":   {broken.Certificates(), "holds no certificate"},
		"another's key":    {mixed.Certificates(), "private key"},
		"a function fails": {carrier.Certificates{CA: good.CA, GetCertificate: get}, "away"},
	} {
		if _, err := carrier.NewTLS(c.certs); !errors.Is(err, messages.ErrInvalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
	for want, names := range map[string][]string{"spiffe://x/a": {"a.example", "spiffe://x/a"}, "a.example": {"a.example"}} {
		if got, err := ca.Issue(t, time.Hour, names...).TLS(t).Identities(); err != nil || !slices.Equal(got, []string{want}) {
			t.Errorf("%v is listed as %v, %v", names, got, err)
		}
	}
	if _, err := ca.Issue(t, time.Hour).TLS(t).Identities(); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("without names: %v", err)
	}
}

// Promise: files that have changed are used, those that cannot be read are told once and
// leave the earlier ones in use, and so is a certificate that has expired.
func TestFilesAreReadAgain(t *testing.T) {
	ca := carriertest.NewCA(t)
	files := ca.Issue(t, time.Hour, "before.example")
	p := files.TLS(t)
	var told []string
	p.Troubled = func(err error) { told = append(told, err.Error()) }
	listed := func(want string) {
		t.Helper()
		p.LookLater()
		if got, err := p.Identities(); err != nil || !slices.Equal(got, []string{want}) {
			t.Errorf("listed as %v, %v, want %s", got, err, want)
		}
	}
	ca.Renew(t, files, time.Hour, "after.example")
	listed("after.example")
	if err := os.Remove(files.Key); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		listed("after.example")
	}
	if len(told) != 1 || !strings.Contains(told[0], "key.pem") {
		t.Errorf("told %q", told)
	}
	ca.Renew(t, files, -time.Minute, "last.example")
	listed("last.example")
	for range 2 {
		p.Look(time.Now())
	}
	if len(told) != 2 || !strings.Contains(told[1], "expired") {
		t.Errorf("told %q", told)
	}
}

// Promise: VerifyPeer is asked after the authorities, and alone where there are none.
func TestVerifyPeer(t *testing.T) {
	ca := carriertest.NewCA(t)
	files := ca.Issue(t, time.Hour, "a.example")
	var seen []*x509.Certificate
	refuse := errors.New("not this one")
	certs := files.Certificates()
	certs.CA, certs.VerifyPeer = "", func(chain []*x509.Certificate) error { seen = chain; return refuse }
	dialler, err := carrier.NewTLS(certs)
	if err != nil {
		t.Fatal(err)
	}
	c, err := carrier.Of(address.TLS)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := c.Listen(t.Context(), address.URL{Scheme: address.TLS, Host: "127.0.0.1"}, files.TLS(t))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if in, err := ln.Accept(); err == nil {
			_ = in.(carrier.Session).Handshake(t.Context())
			_ = in.Close()
		}
	}()
	out, err := c.Dial(t.Context(), address.URL{Scheme: address.TLS}, ln.Addr().String(), carrier.Target{TLS: dialler, Identities: []string{"a.example"}})
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	if err := out.(carrier.Session).Handshake(t.Context()); !errors.Is(err, refuse) || len(seen) != 1 || seen[0].DNSNames[0] != "a.example" {
		t.Errorf("%v, it saw %d certificates", err, len(seen))
	}
	_ = out.Close()
	<-done
}

func TestIdentity(t *testing.T) {
	id := carrier.Identity{URIs: []string{"spiffe://x/A"}, DNSNames: []string{"a.example", "*.b.example"}}
	for name, want := range map[string]bool{
		"spiffe://x/A": true, "spiffe://x/a": false, "A.example": true, "*.b.example": true, "c.b.example": false, "": false, "a": false,
	} {
		if id.Has(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	if (carrier.Identity{}).Has("") || !(carrier.Identity{}).IsZero() || id.IsZero() || (carrier.Identity{}).String() != "nobody" {
		t.Error("the zero identity is somebody")
	}
}
