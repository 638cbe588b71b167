package senders

// What tests from outside may do to a destination.

import (
	"context"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/links"
	"github.com/penstock-io/penstock/actors/pipes/internal/sendq"
	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/transport/carrier"
	"github.com/penstock-io/penstock/transport/frame"
)

// Allows is what listeners ask about members, while there is no destination.
func Allows(l *links.Config) func(frame.Hello, carrier.Identity) error {
	return (&Senders{links: l, node: &node.Node{Own: Own}}).allows()
}

// Own is what members of the runtime of Allows show.
const Own = "own"

// Readdressed is the message which says that members find a sender at other URLs.
func Readdressed(urls []string) any { return &readdressed{where{urls: urls}} }

// SetURLs notes other URLs and tells nobody, as the engine's actor may that finds
// the listener there.
func (d *Destination) SetURLs(urls []string) { d.at.Store(&where{urls: urls}) }

// Listed returns the URLs that etcd has, nil while that is not known.
func (d *Destination) Listed() []string {
	if at := d.listed.Load(); at != nil {
		return at.urls
	}
	return nil
}

// Queue returns what the destination has accepted.
func (d *Destination) Queue() *sendq.Queue { return d.out }

// Astray reports whether a write of key in d's runtime was cut short, and may still come.
func (d *Destination) Astray(key string) bool { return d.node.Registry.Astray(key) }

// TokensSeen is the message which says what etcd shows of tokens.
func TokensSeen(event discovery.WatchEvent) any { return tokensSeen{event} }

// SettleToken makes the key of a group's token what it is to be, as a hosted call does that
// may come late.
func (d *Destination) SettleToken(ctx context.Context, group string) error {
	return d.settleToken(ctx, group)
}
