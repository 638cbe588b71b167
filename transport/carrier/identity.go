package carrier

// Who somebody is, as certificates say it.

import (
	"crypto/x509"
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

// identityOf reads a certificate.
func identityOf(c *x509.Certificate) (id Identity) {
	for _, u := range c.URIs {
		id.URIs = append(id.URIs, u.String())
	}
	id.DNSNames = slices.Clone(c.DNSNames)
	return id
}

// Has reports whether name is one of the identity's URIs or DNS names. Case does not
// matter in a DNS name. A name with a wildcard is that name and stands for no other.
func (id Identity) Has(name string) bool {
	return slices.Contains(id.URIs, name) ||
		slices.ContainsFunc(id.DNSNames, func(n string) bool { return n != "" && strings.EqualFold(n, name) })
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

// isOneOf reports whether one of some listed names is the identity's.
func (id Identity) isOneOf(listed []string) error {
	if len(listed) == 0 {
		return fmt.Errorf("etcd lists the sender under no identity, so that %s may be anybody", id)
	}
	if !slices.ContainsFunc(listed, id.Has) {
		return fmt.Errorf("the certificate is of %s, and etcd lists the sender as %s", id, strings.Join(listed, ", "))
	}
	return nil
}
