package penstock

// Options of encrypted links, of who may join, and of stock nanomsg peers.

import (
	"strings"
	"time"

	"github.com/penstock-io/penstock/actors"
)

// LinkCertificates are what a runtime shows of itself on links, and whom it trusts:
// files, or functions that are asked for each handshake and must not block.
//
//	type LinkCertificates struct {
//		CA             string                                  // a file of PEM: the authorities that sign the other side's certificate
//		Cert, Key      string                                  // files of PEM: this runtime's certificate with what leads to its authority, and its key
//		GetCertificate func() (*tls.Certificate, error)        // in place of Cert and Key
//		GetRoots       func() (*x509.CertPool, error)          // in place of CA
//		VerifyPeer     func(chain []*x509.Certificate) error   // judges the other side, its own certificate first, after the authorities have
//		Mutual         bool                                    // each member that dials has to show a certificate
//	}
//
//	func (c *LinkCertificates) Check() error // every fault that shows without reading files
//
// Files are read again when they change, so that a certificate is renewed without a
// restart: the next handshake uses it. Where they cannot be read, what was read before
// stays in use, and the event CertificateTroubled says so. When an authority is taken
// away, links end whose other side it had signed, within some seconds.
//
// Whoever only joins groups of senders that are not Mutual needs no certificate. Without
// CA and GetRoots VerifyPeer alone judges, and has to check signatures and times itself.
type LinkCertificates = actors.LinkCertificates

// Identity is who the other side of a link has proved to be. The zero Identity has
// proved nothing: it has shown no certificate.
//
//	type Identity struct {
//		URIs     []string // of its certificate, such as spiffe://example.org/billing
//		DNSNames []string // of its certificate, as they are written there
//	}
//
//	func (id Identity) Has(name string) bool // reports whether name is one of them
//	func (id Identity) IsZero() bool
//	func (id Identity) String() string
type Identity = actors.Identity

// LinkTLS gives the runtime certificates, for links at tls+tcp:// and wss:// URLs: TLS 1.3, where
// the sender proves that it is who etcd lists, by a URI or DNS name that its key has
// and its certificate has; the host that was dialled proves nothing. A member with
// LinkTLS dials the encrypted URLs of a sender that has some, and no others. Start
// returns ErrInvalid for files that cannot be read, and Register for a certificate that
// names neither a URI nor a DNS name.
//
// It is nothing to the connections to etcd: see EtcdConfig.
func LinkTLS(certificates LinkCertificates) StartOption {
	return startOption(func(s *startSettings) { s.cfg.LinkTLS = &certificates })
}

// RequireTLS has the runtime refuse links that are not encrypted: it does not listen at
// tcp:// and ws:// URLs, which is ErrInvalid, and does not dial them, nor a proxy at which
// TLS ends, which the event LinkDelayed
// reports with ErrInsecure. It needs LinkTLS. Consumers of topics still listen for the
// other members of their groups, without TLS: nothing but a proof goes over these
// connections.
func RequireTLS() StartOption {
	return startOption(func(s *startSettings) { s.cfg.RequireTLS = true })
}

// AllowMembers asks allow for each member that knows the token of one of this runtime's
// destinations whether it may join the group; with an error it may not. The member is
// told what it would be told about a wrong token; the event ConnectionRefused has the
// reason not-allowed. id is the zero Identity for members that show no certificate, over
// plain links for one. allow is called from many goroutines and must not block. It is asked
// when a link is made, and again every 30 seconds, once for all members of one group and
// certificate: whom it refuses then loses the link, which MemberUnlinked says, and what the
// member had not settled goes to others.
//
// Shared groups of topics are asked for, too: over pipes their owners of partitions lend
// records to members of other processes. The destination is then "~", the topic's id, "~"
// and the group's name. Members of the same runtime are not asked for.
func AllowMembers(allow func(destination, group string, id Identity) error) StartOption {
	return startOption(func(s *startSettings) { s.cfg.AllowMembers = allow })
}

// AllowListedMembers lets only those join whose identity etcd lists for the group, in a
// key <prefix>/allow/<destination>/<group>/<name> for each: its value is a URI or DNS name
// of the member's certificate, and name is for people. Who may write these keys says who
// may join. A member whose key is deleted loses its links, and what it had not settled
// goes to others. It needs LinkTLS; with AllowMembers, both have to agree. For
// a shared group of a topic the destination is as AllowMembers says.
//
//	etcdctl put /penstock/allow/orders/billing/billing spiffe://example.org/billing
func AllowListedMembers() StartOption {
	return startOption(func(s *startSettings) { s.cfg.AllowListedMembers = true })
}

// PlainListen has a destination serve stock nanomsg peers as well: PULL sockets of nngcat,
// nanocat, mangos and others, which dial one of these URLs and need nothing else of
// Penstock. They are as one group, PlainGroup: each message goes to one of them, in turn,
// as far as they read. A peer gets the message's value and nothing else: no key, no header,
// no id. It acks nothing: a message is settled once it is written whole, and is lost with a
// peer that dies with it. Members never dial these URLs, which etcd lists apart.
//
// The group begins with the first peer and ends a minute after the last, see PlainKeepFor;
// before and after that Send goes by without it. What it has no room for is dropped, oldest
// first, see PlainOnFull; MaxQueue bounds it.
//
// There is neither a token nor encryption: whoever can connect takes messages, and nobody
// else gets those. The event messages.PlainExposed warns where others than this machine
// can. Register returns ErrInvalid for tls+tcp:// URLs, and with RequireTLS for all that
// leave the machine, and ErrAddrInUse where the port is taken.
func PlainListen(urls ...string) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.Plain = strings.Join(urls, " ") })
}

// PlainOnFull sets what Send does when the queue of stock nanomsg peers is full, in place
// of QueueDropOldest. With QueueBlock or QueueError a peer that does not read holds up, or
// refuses, messages for every group. OnFull is nothing to these peers.
func PlainOnFull(policy QueuePolicy) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.PlainPolicy = policy })
}

// PlainKeepFor is how long messages wait for a stock nanomsg peer when the last one has
// gone; a minute when not given, at least 1 s, or Forever. After that they are dropped,
// which the event messages.GroupRemoved counts.
func PlainKeepFor(d time.Duration) RegisterOption {
	return registerOption(func(c *actors.DestinationConfig) { c.PlainKeepFor = d })
}

// PlainURL has a member take messages from stock nanomsg peers, too: PUSH sockets of
// nngcat, nanocat, mangos and others, which listen at these URLs and are dialled again
// when they are gone. What comes is a delivery whose Sender is the URL: its bytes are the
// Value, and there is no key, header or time. It is for this member alone, in whatever
// group that is.
//
// Such a peer sends nothing again. What this process has read is lost with it; and so is a
// delivery that is nacked, released or rejected, or whose handler fails or panics, which the
// event messages.MessagesDropped counts. AckWait is nothing to it. A peer is read as fast
// as messages are handled, at most a Window ahead. One that sends more than PlainMaxMessage
// at once, or is no PUSH socket, is hung up on, and dialled again with a growing delay.
//
// There is neither a token nor encryption: whoever listens at the URL is believed. Join
// returns ErrInvalid for tls+tcp:// URLs, with RequireTLS, and in a group that keeps an
// order. It waits until each URL was tried once.
func PlainURL(urls ...string) JoinOption {
	return joinOption(func(c *actors.MemberConfig) { c.PlainURLs = append(c.PlainURLs, urls...) })
}

// PlainMaxMessage limits what a stock nanomsg peer may send in one message, in bytes; 4
// MiB when not given, at most 64 MiB.
func PlainMaxMessage(bytes int) JoinOption {
	return joinOption(func(c *actors.MemberConfig) { c.PlainMaxMessage = bytes })
}
