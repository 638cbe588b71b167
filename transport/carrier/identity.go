package carrier

// Who somebody is, as certificates say it.

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Identity is who a peer has proved to be. The zero Identity has proved nothing.
type Identity struct {
	// URIs are those of its certificate, such as spiffe://example.org/billing.
	URIs []string
	// DNSNames are those of its certificate, as they are written there.
	DNSNames []string
}

// identityOf reads a certificate. What Has finds for no name is left out.
func identityOf(c *x509.Certificate) (id Identity) {
	for _, u := range c.URIs {
		if name := u.String(); isURI(name) {
			id.URIs = append(id.URIs, name)
		}
	}
	for _, name := range c.DNSNames {
		if name != "" && !isURI(name) {
			id.DNSNames = append(id.DNSNames, name)
		}
	}
	return id
}

// isURI tells the two kinds of names apart.
func isURI(name string) bool { return strings.Contains(name, ":") }

// Has reports whether name is one of the identity's URIs or DNS names. Case does not
// matter in a DNS name. A name with a wildcard is that name and stands for no other. What
// has a colon is a URI and no DNS name, and the other way round: who may sign for one kind
// of name cannot make the other.
func (id Identity) Has(name string) bool {
	if isURI(name) {
		return slices.Contains(id.URIs, name)
	}
	return name != "" && slices.ContainsFunc(id.DNSNames, func(n string) bool { return strings.EqualFold(n, name) })
}

// IsZero reports whether nothing was proved.
func (id Identity) IsZero() bool { return len(id.URIs) == 0 && len(id.DNSNames) == 0 }

// String lists the names, for people.
func (id Identity) String() string {
	if id.IsZero() {
		return "nobody"
	}
	return strings.Join(append(slices.Clone(id.URIs), id.DNSNames...), ", ")
}

// names are what a sender is listed under: its URIs, or else its DNS names.
func (id Identity) names() []string {
	if len(id.URIs) > 0 {
		return id.URIs
	}
	return id.DNSNames
}

// ErrIdentity: a certificate that is trusted is of somebody else than etcd lists.
var ErrIdentity = errors.New("not the sender that etcd lists")

// isOneOf reports whether one of some listed names is the identity's.
func (id Identity) isOneOf(listed []string) error {
	if len(listed) == 0 {
		return fmt.Errorf("%w: etcd lists the sender under no identity, so that %s may be anybody", ErrIdentity, id)
	}
	if !slices.ContainsFunc(listed, id.Has) {
		return fmt.Errorf("%w: the certificate is of %s, and etcd lists the sender as %s", ErrIdentity, id, strings.Join(listed, ", "))
	}
	return nil
}
