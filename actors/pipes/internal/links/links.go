package links

// What the links of a runtime are made with, and which of them it makes.

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

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
	// AllowEvery is how often Allow is asked again about members that are linked; AllowEvery
	// when 0.
	AllowEvery time.Duration
	// AllowListed is penstock.AllowListedMembers.
	AllowListed bool
	// Here is where this runtime is.
	Here Place
}

// AllowEvery is how often penstock.AllowMembers is asked again about a link, by default.
const AllowEvery = 30 * time.Second

// AsksIdentity reports whether certificates decide who may join.
func (c *Config) AsksIdentity() bool { return c.Allow != nil || c.AllowListed }

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
	if c.AllowListed && len(faults) == 0 && !slices.ContainsFunc(urls, address.URL.Encrypted) {
		faults = append(faults, fmt.Errorf("listen on %s: %w: AllowListedMembers goes by certificates, which members show over TLS only: add %s://", text, messages.ErrInvalid, address.TLS))
	}
	return urls, errors.Join(faults...)
}

// errElsewhere is a sender whose URLs lead nowhere from here.
var errElsewhere = errors.New("its links do not leave its machine or process, and this process is elsewhere: give the sender a URL with tcp or tls+tcp as well")

// Dials returns which of a sender's URLs are to be dialled, in that order: inproc in the
// same process, ipc on the same machine, then what goes over a network, encrypted ones
// first, and plain streams before WebSocket. Who has certificates, and finds a sender that
// can encrypt, does not fall back to plain URLs: somebody on the path could make it. A
// sender that decides by certificates who may join is dialled over TLS, wherever it is, by
// who has some. The error wraps messages.ErrInsecure when this runtime requires what the
// sender does not offer, or the other way round, and messages.ErrCorrupt when there is
// nothing to dial at all.
func (c *Config) Dials(s *pb.Sender) ([]string, error) {
	offers := make([][]string, rankCount)
	elsewhere := false
	for _, text := range s.GetUrls() {
		u, _, err := address.Dial(text)
		switch {
		case err != nil: // a newer version's
		case !c.Here.reaches(u, s):
			elsewhere = true
		default:
			r := rankOf(u)
			offers[r] = append(offers[r], text)
		}
	}
	local := slices.Concat(offers[:tlsStream]...)
	ends := slices.Concat(offers[tlsStream:proxied]...)
	plain := slices.Concat(offers[plainStream:]...)
	all := strings.Join(s.GetUrls(), " ")
	switch {
	case len(s.GetUrls()) == 0:
		return nil, fmt.Errorf("the sender lists no URL: %w", messages.ErrCorrupt)
	case c.TLS != nil && s.GetAsksIdentity() && len(ends) > 0:
		return ends, nil
	case c.RequireTLS && len(local)+len(ends) > 0:
		return append(local, ends...), nil
	case c.RequireTLS && len(offers[proxied])+len(plain) > 0:
		return nil, fmt.Errorf("the sender offers no link that is encrypted up to itself (%s), and this runtime requires TLS: %w", all, messages.ErrInsecure)
	case c.TLS != nil && len(ends)+len(offers[proxied]) > 0:
		return slices.Concat(local, ends, offers[proxied]), nil
	case len(local)+len(offers[proxied])+len(plain) > 0:
		return slices.Concat(local, offers[proxied], plain), nil
	case len(ends) > 0:
		return nil, fmt.Errorf("the sender offers encrypted links only (%s), and this runtime has no certificates: give LinkTLS: %w", all, messages.ErrInsecure)
	case elsewhere:
		return nil, fmt.Errorf("the sender offers %s: %w", all, errElsewhere)
	}
	return nil, fmt.Errorf("none of the sender's URLs can be dialled (%s): %w", all, messages.ErrCorrupt)
}

// Place is where a runtime is.
type Place struct {
	// Process and Machine tell those apart; Host is a name that several machines may have.
	// Any of them may be empty.
	Process, Machine, Host string
}

// reaches reports whether a URL of a sender may lead there from here. Of ipc that is a
// guess: a container sees the files that it is given, and no others.
func (p Place) reaches(u address.URL, s *pb.Sender) bool {
	switch {
	case u.Scheme == address.InProc:
		return p.Process != "" && p.Process == s.GetProcess()
	case u.Network():
		return true
	case p.Machine != "" && s.GetMachine() != "":
		return p.Machine == s.GetMachine()
	}
	return p.Host != "" && p.Host == s.GetHost()
}

// rank is how soon a URL is dialled.
type rank int

const (
	sameProcess rank = iota
	sameMachine
	tlsStream
	tlsWebSocket
	// proxied: TLS ends at a proxy, which any web server's certificate proves.
	proxied
	plainStream
	plainWebSocket
	rankCount
)

func rankOf(u address.URL) rank {
	switch u.Scheme {
	case address.InProc:
		return sameProcess
	case address.IPC:
		return sameMachine
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
