package doctor

// Encrypted links: what a sender's certificate says, and whether senders and members
// have a kind of link in common.

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/inventory"
)

// linkProtocol is the name (ALPN) of what is spoken over encrypted links.
const linkProtocol = "penstock-link"

// shake begins TLS with a sender and returns the certificates that it shows. It shows
// ours, if there is one; whether the sender wants it appears only later.
func shake(ctx context.Context, conn net.Conn, ours penstock.LinkCertificates) (*tls.Conn, []*x509.Certificate, error) {
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{linkProtocol},
		InsecureSkipVerify: true, //nolint:gosec // the certificates are what is looked at, and judged by judgeCertificate
	}
	if ours.Cert != "" {
		pair, err := tls.LoadX509KeyPair(ours.Cert, ours.Key)
		if err != nil {
			return nil, nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	secured := tls.Client(conn, cfg)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, nil, fmt.Errorf("%w: TLS: %w", errNotSender, err)
	}
	return secured, secured.ConnectionState().PeerCertificates, nil
}

// rootsOf reads the authorities; nil without a file.
func rootsOf(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return roots, nil
}

// judgeCertificate looks at the certificate that a sender shows: its time, its names, and
// its authority where ours are known.
func judgeCertificate(name, url string, chain []*x509.Certificate, listed []string, roots *x509.CertPool, now time.Time) check {
	leaf := chain[0]
	id := penstock.Identity{DNSNames: leaf.DNSNames}
	for _, u := range leaf.URIs {
		id.URIs = append(id.URIs, u.String())
	}
	c := check{Name: name + " certificate", Status: verdictOK, Found: fmt.Sprintf("of %s, until %s", cli.Clean(id.String()), leaf.NotAfter.UTC().Format(time.RFC3339))}
	fail := func(found, do string) check { // it may quote the certificate, which may be a stranger's
		c.Status, c.Found, c.Do = verdictFail, url+": "+cli.Clean(found), do
		return c
	}
	between := x509.NewCertPool()
	for _, more := range chain[1:] {
		between.AddCert(more)
	}
	switch {
	case now.After(leaf.NotAfter):
		return fail("it expired at "+leaf.NotAfter.UTC().Format(time.RFC3339), "renew it: the sender reads the files again by itself")
	case now.Before(leaf.NotBefore):
		return fail("it is valid from "+leaf.NotBefore.UTC().Format(time.RFC3339)+" on", "look at the clock of that host and of who signs")
	case !slices.ContainsFunc(listed, id.Has):
		return fail(fmt.Sprintf("it is of %s, and etcd lists the sender as %s", id, strings.Join(listed, ", ")),
			"something else has that port, or a proxy ends TLS there")
	}
	if roots != nil {
		_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
		if err != nil {
			return fail(err.Error(), "use certificates of the authority in --link-cacert, good for servers")
		}
	}
	if life := leaf.NotAfter.Sub(leaf.NotBefore); leaf.NotAfter.Sub(now) < life/10 {
		c.Status, c.Do = verdictWarn, "nine tenths of its time are over: see who renews it"
	} else if roots == nil {
		c.Found += "; its authority was not checked: that takes --link-cacert"
	}
	return c
}

// judgeMeeting looks for members and senders of a destination that have no kind of link
// in common. Nothing is said where all have.
func judgeMeeting(d *inventory.Destination) (all []check) {
	for _, s := range d.Senders {
		plain := slices.ContainsFunc(s.URLs, func(u string) bool { return strings.HasPrefix(u, "tcp://") })
		secure := slices.ContainsFunc(s.URLs, func(u string) bool { return strings.HasPrefix(u, "tls+tcp://") })
		for _, g := range d.Groups {
			for _, m := range g.Members {
				c := check{Name: "links of " + d.Name + "/" + s.ID, Status: verdictFail}
				switch {
				case m.TLS == "required" && plain && !secure:
					c.Found = fmt.Sprintf("member %s of group %s requires TLS, and the sender has plain URLs only", m.ID, g.Name)
					c.Do = "give the sender LinkTLS, and a tls+tcp:// URL"
				case m.TLS == "" && secure && !plain:
					c.Found = fmt.Sprintf("member %s of group %s has no certificates, and the sender has encrypted URLs only", m.ID, g.Name)
					c.Do = "give the member LinkTLS, or the sender a tcp:// URL as well until all have it"
				default:
					continue
				}
				all = append(all, c)
			}
		}
	}
	return all
}

// errWantsCertificate is a sender that ends the handshake because of our certificate.
var errWantsCertificate = errors.New("it wants a certificate that it trusts")
