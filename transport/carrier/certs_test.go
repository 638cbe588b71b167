package carrier_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
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
	cut := ca.Issue(t, time.Hour, "a.example")
	whole, err := os.ReadFile(cut.CA)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cut.CA, append(whole, whole[:len(whole)/2]...), 0o600); err != nil {
		t.Fatal(err)
	}
	mixed := good
	mixed.Key = ca.Issue(t, time.Hour, "a.example").Key
	get := func() (*tls.Certificate, error) { return nil, errors.New("away") }
	for name, c := range map[string]struct {
		certs carrier.Certificates
		says  string
	}{
		"nothing":            {carrier.Certificates{}, "whom to trust"},
		"no key":             {carrier.Certificates{CA: good.CA, Cert: good.Cert}, "needs its key"},
		"both and nobody":    {carrier.Certificates{Cert: good.Cert, Key: good.Key, GetCertificate: get}, "whom to trust"},
		"both":               {carrier.Certificates{Cert: good.Cert, Key: good.Key, GetCertificate: get}, "one of them"},
		"no such file":       {carrier.Certificates{CA: good.CA + "x"}, "no such file"},
		"no certificate":     {broken.Certificates(), "holds no certificate"},
		"half a certificate": {cut.Certificates(), "follows certificate 1"},
		"another's key":      {mixed.Certificates(), "private key"},
		"a function fails":   {carrier.Certificates{CA: good.CA, GetCertificate: get}, "away"},
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

// Promise: that files are gone is told, also when all of them are.
func TestFilesThatAreGone(t *testing.T) {
	files := carriertest.NewCA(t).Issue(t, time.Hour, "a.example")
	p := files.TLS(t)
	told := 0
	p.Troubled = func(error) { told++ }
	if err := errors.Join(os.Remove(files.CA), os.Remove(files.Cert), os.Remove(files.Key)); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		p.LookLater()
		if _, err := p.Identities(); err != nil {
			t.Fatal(err)
		}
	}
	if told != 1 {
		t.Errorf("told %d times", told)
	}
}

// session is a dialler's end of a stream with TLS, after its handshake.
func session(t *testing.T, listener, dialler *carrier.TLS, identity string) net.Conn {
	t.Helper()
	c, err := carrier.Of(address.TLS)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := c.Listen(t.Context(), address.URL{Scheme: address.TLS, Host: "127.0.0.1"}, listener)
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		if in, err := ln.Accept(); err == nil {
			_ = in.(carrier.Session).Handshake(context.Background())
			_, _ = in.Read(make([]byte, 1)) // until the other end is closed
			_ = in.Close()
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		accepting.Wait()
	})
	out, err := c.Dial(t.Context(), address.URL{Scheme: address.TLS}, ln.Addr().String(), carrier.Target{TLS: dialler, Identities: []string{identity}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	if err := out.(carrier.Session).Handshake(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out
}

// Promise: an authority that is taken away ends what it had signed, and one that is
// missing for a moment, while the file is written, does not.
func TestHalfWrittenAuthorities(t *testing.T) {
	ca, other := carriertest.NewCA(t), carriertest.NewCA(t)
	ours, theirs := ca.Issue(t, time.Hour, "b.example"), other.Issue(t, time.Hour, "a.example")
	read := func(name string) []byte {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	first, second := read(ours.CA), read(theirs.CA)
	write := func(text []byte) {
		if err := os.WriteFile(ours.CA, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(append(slices.Clone(first), second...))
	dialler := ours.TLS(t)
	s := session(t, theirs.TLS(t), dialler, "a.example").(carrier.Session)
	recheck := func() error {
		dialler.LookLater()
		return s.Recheck()
	}
	write(first)
	if err := recheck(); err != nil {
		t.Errorf("half of the file is there: %v", err)
	}
	long := time.Now().Add(-time.Minute)
	if err := os.Chtimes(ours.CA, long, long); err != nil {
		t.Fatal(err)
	}
	if err := recheck(); err == nil {
		t.Error("the authority is gone, and what it signed is trusted")
	}
}

// Promise: a link outlives the renewal of its authority's certificate with the same key.
func TestAuthorityIsRenewed(t *testing.T) {
	ca := carriertest.NewCA(t)
	ours, theirs := ca.Issue(t, time.Hour, "b.example"), ca.Issue(t, time.Hour, "a.example")
	dialler := ours.TLS(t)
	c := session(t, theirs.TLS(t), dialler, "a.example")
	carrier.MetEarlier(c, 10*time.Minute)
	ca.Again(t, time.Now().Add(-time.Minute)).Trust(t, ours)
	dialler.LookLater()
	if err := c.(carrier.Session).Recheck(); err != nil {
		t.Errorf("a renewed authority is not trusted: %v", err)
	}
	carriertest.NewCA(t).Trust(t, ours)
	dialler.LookLater()
	if err := c.(carrier.Session).Recheck(); err == nil {
		t.Error("another authority is trusted")
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
	id := carrier.Identity{
		URIs:     []string{"spiffe://x/A", "d.example", ""},
		DNSNames: []string{"a.example", "*.b.example", "spiffe://x/D", ""},
	}
	for name, want := range map[string]bool{
		"spiffe://x/A": true, "spiffe://x/a": false, "A.example": true, "*.b.example": true, "c.b.example": false, "": false, "a": false,
		"d.example": false, "spiffe://x/D": false, // of the other kind
	} {
		if id.Has(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
	if (carrier.Identity{}).Has("") || !(carrier.Identity{}).IsZero() || id.IsZero() || (carrier.Identity{}).String() != "nobody" {
		t.Error("the zero identity is somebody")
	}
}

// Promise: nothing but TLS 1.3 with our protocol's name is spoken, no session is resumed,
// a certificate that is shown is checked although none is demanded, and a stranger may send
// so much and no more.
func TestStrangers(t *testing.T) {
	ca, other := carriertest.NewCA(t), carriertest.NewCA(t)
	files, theirs := ca.Issue(t, time.Hour, "a.example"), other.Issue(t, time.Hour, "b.example")
	c, err := carrier.Of(address.TLS)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.LoadX509KeyPair(theirs.Cert, theirs.Key)
	if err != nil {
		t.Fatal(err)
	}
	good := tls.Config{InsecureSkipVerify: true, NextProtos: []string{"penstock-link"}, ClientSessionCache: tls.NewLRUClientSessionCache(1), ServerName: "a.example"}
	for name, try := range map[string]struct {
		change func(*tls.Config)
		want   string // of the listener's end; none for a handshake that is right
	}{
		"right":             {func(*tls.Config) {}, ""},
		"TLS 1.2":           {func(c *tls.Config) { c.MaxVersion = tls.VersionTLS12 }, "version"},
		"no protocol":       {func(c *tls.Config) { c.NextProtos = nil }, "penstock-link"},
		"another protocol":  {func(c *tls.Config) { c.NextProtos = []string{"h2"} }, "application protocol"},
		"another authority": {func(c *tls.Config) { c.Certificates = []tls.Certificate{pair} }, "unknown authority"},
		"a long certificate": {func(c *tls.Config) {
			long := tls.Certificate{PrivateKey: pair.PrivateKey}
			for range 200 {
				long.Certificate = append(long.Certificate, pair.Certificate[0])
			}
			c.Certificates = []tls.Certificate{long}
		}, "more than 65536 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := good.Clone()
			try.change(cfg)
			ln, err := c.Listen(t.Context(), address.URL{Scheme: address.TLS, Host: "127.0.0.1"}, files.TLS(t))
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			for range 2 { // the second time there could be a session to resume
				ended := make(chan error, 1)
				go func() {
					in, err := ln.Accept()
					if err == nil {
						err = in.(carrier.Session).Handshake(context.Background())
						_, _ = in.Write([]byte{1})
						_ = in.Close()
					}
					ended <- err
				}()
				out, err := net.Dial("tcp", ln.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer out.Close()
				client := tls.Client(out, cfg)
				if err := client.HandshakeContext(t.Context()); err == nil {
					_, _ = client.Read(make([]byte, 1)) // a ticket would come before
				}
				switch err := <-ended; {
				case try.want == "" && (err != nil || client.ConnectionState().DidResume):
					t.Errorf("%v, resumed: %t", err, client.ConnectionState().DidResume)
				case try.want != "" && (err == nil || !strings.Contains(err.Error(), try.want)):
					t.Errorf("it ends with %v, want %q", err, try.want)
				}
			}
		})
	}
}

// Promise: a function that has no authorities any more is told of once, until it has some
// again.
func TestRootsAreTroubled(t *testing.T) {
	var fails error
	trusted, err := carrier.NewTLS(carrier.Certificates{GetRoots: func() (*x509.CertPool, error) { return x509.NewCertPool(), fails }})
	if err != nil {
		t.Fatal(err)
	}
	var told []error
	trusted.Troubled = func(err error) { told = append(told, err) }
	trusted.Look(time.Now())
	for range 2 {
		fails = errors.New("the agent is away")
		trusted.Look(time.Now())
		trusted.Look(time.Now())
		fails = nil
		trusted.Look(time.Now())
	}
	if len(told) != 2 || !strings.Contains(told[0].Error(), "the agent is away") {
		t.Errorf("told %v", told)
	}
}
