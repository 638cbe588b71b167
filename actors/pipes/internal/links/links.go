package links

// What the links of a runtime are made with, and which of them it makes.

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
)

// Config is what the links of a runtime are made with. It is not written to.
type Config struct {
	// Listen are the URLs of destinations that ask for none, with spaces in between.
	Listen string
	// TLS is penstock.LinkTLS; nil without.
	TLS *carrier.TLS
	// RequireTLS is penstock.RequireTLS.
	RequireTLS bool
	// Allow is penstock.AllowMembers; nil without.
	Allow func(destination, group string, id carrier.Identity) error
	// AllowListed is penstock.AllowListedMembers.
	AllowListed bool
}

// Level is what others are told of it.
func (c *Config) Level() pb.TLS {
	switch {
	case c.RequireTLS:
		return pb.TLS_TLS_REQUIRED
	case c.TLS != nil:
		return pb.TLS_TLS_PREFERRED
	}
	return pb.TLS_NO_TLS
}

// Listens returns the URLs of a listener, with the values of the environment variables that
// they name, and every reason not to listen there; each wraps messages.ErrInvalid.
func (c *Config) Listens(text string) ([]address.URL, error) {
	urls, err := address.Listening(text)
	if err != nil {
		return nil, err
	}
	var faults []error
	for _, u := range urls {
		switch {
		case u.Encrypted() && c.TLS == nil:
			faults = append(faults, fmt.Errorf("listen on %s: %w: it takes certificates: give LinkTLS", u, messages.ErrInvalid))
		case c.RequireTLS && u.Network() && !u.Encrypted():
			faults = append(faults, fmt.Errorf("listen on %s: %w: this runtime requires TLS: use %s:// or %s://", u, messages.ErrInvalid, address.TLS, address.WSS))
		}
	}
	return urls, errors.Join(faults...)
}

// Dials returns which of a sender's URLs are to be dialled, in that order: encrypted ones
// first, and plain streams before WebSocket. Who has certificates, and finds a sender that
// can encrypt, does not fall back to plain URLs: somebody on the path could make it. The
// error wraps messages.ErrInsecure when this runtime requires what the sender does not
// offer, or the other way round, and messages.ErrCorrupt when there is nothing to dial at
// all.
func (c *Config) Dials(announced []string) ([]string, error) {
	offers := make([][]string, rankCount)
	for _, s := range announced {
		if u, _, err := address.Dial(s); err == nil { // else it is a newer version's
			r := rankOf(u)
			offers[r] = append(offers[r], s)
		}
	}
	ends := slices.Concat(offers[:proxied]...)
	plain := slices.Concat(offers[plainStream:]...)
	all := strings.Join(announced, " ")
	switch {
	case len(announced) == 0:
		return nil, fmt.Errorf("the sender lists no URL: %w", messages.ErrCorrupt)
	case c.RequireTLS && len(ends) > 0:
		return ends, nil
	case c.RequireTLS && len(offers[proxied])+len(plain) > 0:
		return nil, fmt.Errorf("the sender offers no link that is encrypted up to itself (%s), and this runtime requires TLS: %w", all, messages.ErrInsecure)
	case c.TLS != nil && len(ends)+len(offers[proxied]) > 0:
		return append(ends, offers[proxied]...), nil
	case len(offers[proxied])+len(plain) > 0:
		return append(offers[proxied], plain...), nil
	case len(ends) > 0:
		return nil, fmt.Errorf("the sender offers encrypted links only (%s), and this runtime has no certificates: give LinkTLS: %w", all, messages.ErrInsecure)
	}
	return nil, fmt.Errorf("none of the sender's URLs can be dialled (%s): %w", all, messages.ErrCorrupt)
}

// rank is how soon a URL is dialled.
type rank int

const (
	tlsStream rank = iota
	tlsWebSocket
	// proxied: TLS ends at a proxy, which any web server's certificate proves.
	proxied
	plainStream
	plainWebSocket
	rankCount
)

func rankOf(u address.URL) rank {
	switch u.Scheme {
	case address.TLS:
		return tlsStream
	case address.WSS:
		if u.Proxied {
			return proxied
		}
		return tlsWebSocket
	case address.WS:
		return plainWebSocket
	}
	return plainStream
}

// Rights are who may join which group of a destination, as etcd lists them. A nil
// Rights is not known yet.
type Rights map[string][]string // identities, by group

// Check returns why a member may not join a group.
func (r Rights) Check(group string, id carrier.Identity) error {
	switch {
	case r == nil:
		return errors.New("who may join is not known yet: etcd has not been read")
	case id.IsZero():
		return errors.New("the member has shown no certificate")
	}
	for _, name := range r[group] {
		if id.Has(name) {
			return nil
		}
	}
	return fmt.Errorf("etcd does not list %s among those who may join group %q", id, group)
}
