package pipes_test

// The faults of links over each transport but tcp, which the other tests are about.

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/transport/carrier/carriertest"
)

// transport is how links go in a test between processes.
type transport struct {
	// scheme and path are those of the senders' URLs.
	scheme, path string
	encrypted    bool
	// network and free are where senders listen: its name in package net, and a place there
	// that nobody has.
	network string
	free    func(*testing.T) string
}

var transports = []transport{
	{"tls+tcp", "", true, "tcp", freeHost},
	{"ws", "/penstock", false, "tcp", freeHost},
	{"wss", "/penstock", true, "tcp", freeHost},
}

func freeHost(t *testing.T) string { return harness.Loopback(penstocktest.FreePort(t)) }

// freeFile is a path that is short enough for a unix socket.
func freeFile(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ipc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "orders")
}

// url is that of a sender that listens at a place.
func (tr transport) url(at string) string { return tr.scheme + "://" + at + tr.path }

// certs are those of a process in this test; none where links are not encrypted.
func (tr transport) certs(t *testing.T, ca *carriertest.CA, name string) carriertest.Files {
	if !tr.encrypted {
		return carriertest.Files{}
	}
	return ca.Issue(t, time.Hour, name)
}

// options are those of a runtime with such certificates.
func (tr transport) options(certs carriertest.Files, listen string) []penstock.StartOption {
	opts := []penstock.StartOption{penstock.Listen(listen)}
	if tr.encrypted {
		opts = append(opts, penstock.LinkTLS(certs.Certificates()), penstock.RequireTLS())
	}
	return opts
}

// garbage are strangers' first bytes; those that say enough hear at once that they are
// none.
var garbage = []string{
	"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
	"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
	"\x16\x03\x01\xff\xff\x01\x00\xff\xfc\x03\x03" + "garbage of a handshake",
	"\x00SP\x00\x00\x50\x00\x00",
}

// Promise: over each transport nothing that was accepted is lost, and no more than the
// windows of dead links is handled twice, while strangers send garbage, a member is killed,
// one is frozen and resumed, the network cuts all links, and then keeps them and moves
// nothing.
func TestEachTransportUnderFaults(t *testing.T) {
	t.Parallel()
	for _, tr := range transports {
		t.Run(tr.scheme, func(t *testing.T) {
			t.Parallel()
			ns, l, ca := penstocktest.Space(t), harness.NewLedger(), carriertest.NewCA(t)
			place := tr.free(t)
			road := penstocktest.NewProxy(t, place)
			rt := harness.Runtime(t, ns, tr.options(tr.certs(t, ca, "orders.example"), tr.url(place)+"?advertise="+road.Addr())...)
			events := penstocktest.Record(t, rt)
			orders := harness.Register(t, rt, "orders")
			member := func(name string) *child {
				c := spawn(t, childSpec{
					Role: roleMember, Endpoint: harness.Etcd.Endpoint(), Space: ns, Destination: "orders", Group: "billing",
					Member: name, Window: window, Certs: tr.certs(t, ca, name+".example"),
				}, l)
				c.awaitReady(t)
				return c
			}
			dies, freezes := member("dies"), member("freezes")
			member("lives")
			unlinked := func(name string) {
				t.Helper()
				gone := penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberUnlinked) bool { return e.Member == name })
				if gone.Cause == nil {
					t.Errorf("the end of the link of %s must have a cause", name)
				}
			}
			// works waits until a member, whose link is new, is at work.
			works := func(events *penstocktest.Recording, name string) {
				t.Helper()
				penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberLinked) bool { return e.Member == name })
				before := l.Tally().By[name]
				l.Await(t, name+" works again", func(now harness.Tally) bool { return now.By[name] > before+200 })
			}
			load := harness.StartLoad(t, orders)
			l.Await(t, "all at work", func(now harness.Tally) bool {
				return now.By["dies"] > 200 && now.By["freezes"] > 200 && now.By["lives"] > 200
			})

			for _, g := range garbage {
				events := penstocktest.Record(t, rt)
				c, err := net.Dial(tr.network, place)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := c.Write([]byte(g)); err != nil {
					t.Fatal(err)
				}
				at := c.LocalAddr().String()
				penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.ConnectionRefused) bool {
					return e.Remote == at || tr.network == "unix" // there who dials has no address
				})
				_ = c.Close()
			}

			dies.kill(t)
			unlinked("dies")

			resume := penstocktest.Freeze(t, freezes.cmd.Process)
			unlinked("freezes")
			again := penstocktest.Record(t, rt)
			resume()
			works(again, "freezes")

			events = penstocktest.Record(t, rt)
			road.Cut()
			unlinked("lives")
			road.Resume()
			works(events, "lives")

			events = penstocktest.Record(t, rt)
			road.Hang()
			unlinked("lives")
			road.Resume()
			works(events, "lives")

			n := harness.Settle(t, load, orders, l)
			l.Complete(t, n, 6*window) // one for each link that ended
		})
	}
}

// Promise: over each transport a sender that dies is replaced by the next one, under the
// same id and at another place, whose messages arrive.
func TestEachTransportsSenderIsReplaced(t *testing.T) {
	t.Parallel()
	for _, tr := range transports {
		t.Run(tr.scheme, func(t *testing.T) {
			t.Parallel()
			ns, l, ca := penstocktest.Space(t), harness.NewLedger(), carriertest.NewCA(t)
			rt := harness.Runtime(t, ns, tr.options(tr.certs(t, ca, "billing.example"), tr.url(tr.free(t)))...)
			l.Handle(t, "member", harness.Join(t, rt, "orders", "billing", penstock.Window(window)))
			events := penstocktest.Record(t, rt)
			sender := func() *child {
				c := spawn(t, childSpec{
					Role: roleSender, Endpoint: harness.Etcd.Endpoint(), Space: ns, Destination: "orders", LeaseTTL: 2 * time.Second,
					Listen: tr.url(tr.free(t)),
					Certs:  tr.certs(t, ca, "orders.example"),
				}, l)
				c.awaitReady(t)
				return c
			}
			first := sender()
			first.tell(t, "send 0 1000")
			l.Await(t, "the first messages", func(now harness.Tally) bool { return now.Distinct >= 500 })
			first.kill(t)
			penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.SenderUnlinked) bool { return e.Cause != nil })
			harness.Await(t, "the end of the dead sender's lease", watchGone(t, ns+"/dest/orders/senders/the-sender"))
			sender().tell(t, "send 1000 2000")
			l.Await(t, "the messages of the second", func(harness.Tally) bool { return l.Has(1000, 2000) })
		})
	}
}
