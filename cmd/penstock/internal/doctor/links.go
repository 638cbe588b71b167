package doctor

// Encrypted links: what a sender's certificate says, and whether senders and members
// have a kind of link in common.

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/inventory"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
)

// rootsOf reads the authorities; nil without a file.
func rootsOf(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	return carrier.ReadRoots(file)
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
		var plain, secure bool // up to the sender
		for _, text := range s.URLs {
			if u, _, err := address.Dial(text); err == nil && u.Network() {
				plain = plain || !u.EndToEnd()
				secure = secure || u.EndToEnd()
			}
		}
		for _, g := range d.Groups {
			for _, m := range g.Members {
				c := check{Name: "links of " + d.Name + "/" + s.ID, Status: verdictFail}
				switch {
				case m.TLS == "required" && plain && !secure:
					c.Found = fmt.Sprintf("member %s of group %s requires TLS, and the sender has no URL that is encrypted up to itself", m.ID, g.Name)
					c.Do = "give the sender LinkTLS, and a tls+tcp:// or wss:// URL"
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
