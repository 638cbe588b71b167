package pipes_test

// Encrypted links between runtimes: who gets one, and who does not.

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/pipes/members"
	"github.com/penstock-io/penstock/actors/pipes/senders"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/carrier"
	"github.com/penstock-io/penstock/transport/carrier/carriertest"
)

const encrypted = "tls+tcp://127.0.0.1:0"

// with are the settings of a runtime with certificates, that listens there.
func with(f carriertest.Files, listen string, set ...func(*actors.Config)) func(*actors.Config) {
	return func(c *actors.Config) {
		certs := f.Certificates()
		c.LinkTLS, c.Listen = &certs, listen
		for _, s := range set {
			s(c)
		}
	}
}

func mutual(c *actors.Config)  { c.LinkTLS.Mutual = true }
func require(c *actors.Config) { c.RequireTLS = true }

// flows sends some messages over d and waits until m has handled them.
func flows(t *testing.T, d *actors.Destination, m *actors.Member) {
	t.Helper()
	got := make(chan struct{}, 16)
	enginetest.Consume(t, m, func(context.Context, messages.Delivery) error { got <- struct{}{}; return nil })
	enginetest.Send(t, d, 10)
	for range 10 {
		enginetest.Await(t, "a message", got)
	}
}

// delayed waits until the link of a member of e could not be made, for a reason whose
// text has part.
func delayed(t *testing.T, events <-chan messages.Event, part string) messages.LinkDelayed {
	t.Helper()
	for {
		e, ok := enginetest.Await(t, "LinkDelayed with "+part, events).(messages.LinkDelayed)
		if ok && strings.Contains(e.Err.Error(), part) {
			return e
		}
	}
}

// eventsOf are what happens in e from now on.
func eventsOf(t *testing.T, e *actors.Engine) <-chan messages.Event {
	t.Helper()
	all := make(chan messages.Event, 4096)
	ctx, cancel := context.WithCancel(t.Context())
	var reading sync.WaitGroup
	seq := e.Events(ctx)
	reading.Go(func() {
		for ev := range seq {
			select {
			case all <- ev:
			default:
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		reading.Wait()
	})
	return all
}

// join joins in the background: a join whose senders refuse it takes its time.
func join(t *testing.T, e *actors.Engine) {
	t.Helper()
	enginetest.Join(t, e, members.Config{})
}

// Promise: with certificates from files, both ends prove who they are, and messages
// flow; who has none, or one of another authority, or one that has expired, gets none.
func TestMutualTLS(t *testing.T) {
	t.Parallel()
	ca, other := carriertest.NewCA(t), carriertest.NewCA(t)
	s := enginetest.NewSpace(t)
	sender := s.Begin(t, with(ca.Issue(t, time.Hour, "orders.example", "spiffe://example.org/orders"), encrypted, mutual, require))
	d := enginetest.Register(t, sender, senders.Config{})
	if !strings.HasPrefix(d.URL(), "tls+tcp://") {
		t.Fatalf("it listens at %s", d.URL())
	}
	member := s.Begin(t, with(ca.Issue(t, time.Hour, "billing.example"), encrypted, require))
	flows(t, d, enginetest.Join(t, member, members.Config{}))

	strange := other.Issue(t, time.Hour, "billing.example")
	ca.Trust(t, strange) // it trusts the sender, who does not trust it
	bare := ca.Issue(t, time.Hour, "billing.example")
	bare.Cert, bare.Key = "", ""
	for name, c := range map[string]struct {
		files carriertest.Files
		part  string
	}{
		"another authority":                    {strange, "TLS"},
		"expired":                              {ca.Issue(t, -time.Minute, "billing.example"), "TLS"},
		"none":                                 {bare, "TLS"},
		"an authority that the sender has not": {other.Issue(t, time.Hour, "billing.example"), "unknown authority"},
	} {
		t.Run(name, func(t *testing.T) {
			e := s.Begin(t, with(c.files, encrypted))
			events := eventsOf(t, e)
			join(t, e)
			delayed(t, events, c.part)
		})
	}
}

// Promise: a member goes by the identity that etcd lists, and not by the address: a
// certificate of the same authority for somebody else is refused.
func TestSenderOfAnotherName(t *testing.T) {
	t.Parallel()
	ctx := enginetest.Within(t)
	ca := carriertest.NewCA(t)
	s := enginetest.NewSpace(t)
	c := s.Client(t)
	d := enginetest.Register(t, s.Begin(t, with(ca.Issue(t, time.Hour, "localhost", "spiffe://example.org/orders"), encrypted)), senders.Config{})
	key := s.Keys.Sender(d.Name(), d.ID())
	got, err := c.Get(ctx, key)
	if err != nil || len(got.Kvs) != 1 {
		t.Fatal(got, err)
	}
	listed := &pb.Sender{}
	if err := proto.Unmarshal(got.Kvs[0].Value, listed); err != nil {
		t.Fatal(err)
	}
	if len(listed.Identities) != 1 || listed.Identities[0] != "spiffe://example.org/orders" {
		t.Errorf("it is listed as %q", listed.Identities)
	}
	for name, as := range map[string][]string{"of another": {"spiffe://example.org/shipping"}, "of nobody": nil} {
		// Another sender of the destination, which leads to the first one's listener.
		other := proto.CloneOf(listed)
		other.Id, other.Identities = "false", as
		value, err := proto.Marshal(other)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := c.Get(ctx, s.Keys.Secret(d.Name(), d.ID()))
		if err != nil || len(secret.Kvs) != 1 {
			t.Fatal(secret, err)
		}
		if _, err := c.Put(ctx, s.Keys.Secret(d.Name(), "false"), string(secret.Kvs[0].Value)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Put(ctx, s.Keys.Sender(d.Name(), "false"), string(value)); err != nil {
			t.Fatal(err)
		}
		e := s.Begin(t, with(ca.Issue(t, time.Hour, "billing.example"), encrypted))
		events := eventsOf(t, e)
		m := enginetest.Join(t, e, members.Config{ID: strings.ReplaceAll(name, " ", "-")})
		if got := delayed(t, events, "spiffe://example.org/orders"); got.Sender != "false" {
			t.Errorf("%s: the link to %s is delayed: %v", name, got.Sender, got.Err)
		}
		flows(t, d, m)
		if err := m.Leave(ctx); err != nil {
			t.Fatal(err)
		}
	}
}

// Promise: with URLs of both kinds a member with certificates takes the encrypted one,
// and one without takes the other; who requires TLS and finds none says so.
func TestTLSBesideTCP(t *testing.T) {
	t.Parallel()
	ca := carriertest.NewCA(t)
	s := enginetest.NewSpace(t)
	sender := s.Begin(t, with(ca.Issue(t, time.Hour, "orders.example"), "tcp://127.0.0.1:0 "+encrypted))
	d := enginetest.Register(t, sender, senders.Config{Name: "both"})
	if urls := d.URLs(); len(urls) != 2 {
		t.Fatalf("it listens at %v", urls)
	}
	for name, c := range map[string]struct {
		set    func(*actors.Config)
		scheme string
	}{
		"with certificates": {with(ca.Issue(t, time.Hour, "billing.example"), encrypted), "tls+tcp://"},
		"without":           {func(*actors.Config) {}, "tcp://"},
	} {
		e := s.Begin(t, c.set)
		events := eventsOf(t, e)
		m := enginetest.Join(t, e, members.Config{Destination: "both"})
		flows(t, d, m)
		for {
			linked, ok := enginetest.Await(t, "SenderLinked", events).(messages.SenderLinked)
			if !ok {
				continue
			}
			if i := map[string]int{"tcp://": 0, "tls+tcp://": 1}[c.scheme]; !strings.HasSuffix(d.URLs()[i], linked.Addr) {
				t.Errorf("%s: it is linked at %s; the URLs are %v", name, linked.Addr, d.URLs())
			}
			break
		}
		if err := m.Leave(enginetest.Within(t)); err != nil {
			t.Fatal(err)
		}
	}

	enginetest.Register(t, s.Begin(t), senders.Config{Name: "plain"})
	strict := s.Begin(t, with(ca.Issue(t, time.Hour, "billing.example"), encrypted, require))
	events := eventsOf(t, strict)
	enginetest.Join(t, strict, members.Config{Destination: "plain"})
	if e := delayed(t, events, "requires TLS"); !errors.Is(e.Err, messages.ErrInsecure) {
		t.Errorf("it says %v", e.Err)
	}
	if _, err := strict.Register(enginetest.Within(t), senders.Config{Name: "o", Listen: "tcp://127.0.0.1:0"}); !errors.Is(err, messages.ErrInvalid) {
		t.Errorf("it listens without TLS: %v", err)
	}
}

// relay stands between members and a sender, and passes on every byte: with a tls
// configuration it ends TLS on one side and begins it on the other.
func relay(t *testing.T, to string, cfg *tls.Config) (at string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			if cfg != nil {
				in, out = tls.Server(in, cfg), tls.Client(out, cfg)
			}
			for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
				all.Go(func() {
					_, _ = io.Copy(way[0], way[1]) // how it ends does not matter
					_ = in.Close()
					_ = out.Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		all.Wait()
	})
	return ln.Addr().String()
}

// Promise: nobody in between can pass on a handshake of encrypted links, not even with
// the sender's own certificate. Without TLS he can, and reads along.
func TestRelayedHandshake(t *testing.T) {
	t.Parallel()
	ca := carriertest.NewCA(t)
	files := ca.Issue(t, time.Hour, "orders.example")
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	stolen := &tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true, NextProtos: []string{"penstock-link"}}
	web := stolen.Clone()
	web.NextProtos = []string{"http/1.1"}
	fake := carriertest.NewCA(t).Issue(t, time.Hour, "orders.example")
	if pair, err = tls.LoadX509KeyPair(fake.Cert, fake.Key); err != nil {
		t.Fatal(err)
	}
	other := web.Clone()
	other.Certificates = []tls.Certificate{pair}
	for name, c := range map[string]struct {
		scheme string
		cfg    *tls.Config
		passes bool
	}{
		"plain":                   {"tcp", nil, true},
		"encrypted":               {"tls+tcp", stolen, false},
		"untouched":               {"tls+tcp", nil, true},
		"a WebSocket without TLS": {"ws", nil, true},
		"an encrypted WebSocket":  {"wss", web, false},
		"of another authority":    {"wss", other, false},
		"an untouched WebSocket":  {"wss", nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := enginetest.NewSpace(t)
			port, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			to := port.Addr().String()
			at := relay(t, to, c.cfg)
			if err := port.Close(); err != nil {
				t.Fatal(err)
			}
			path := ""
			if strings.HasPrefix(c.scheme, "ws") {
				path = "/penstock"
			}
			d := enginetest.Register(t, s.Begin(t, with(files, c.scheme+"://"+to+path+"?advertise="+at)), senders.Config{DropWithoutGroup: true})
			e := s.Begin(t, with(ca.Issue(t, time.Hour, "billing.example"), encrypted))
			events := eventsOf(t, e)
			m := enginetest.Join(t, e, members.Config{})
			if c.passes {
				flows(t, d, m)
				return
			}
			if c.cfg == other {
				delayed(t, events, "TLS")
				return
			}
			delayed(t, events, "the proof is wrong")
		})
	}
}

// Promise: AllowMembers decides who joins, by the identity that was proved; the refused
// one hears what a wrong token hears, and a panic refuses.
func TestAllowMembers(t *testing.T) {
	t.Parallel()
	ca := carriertest.NewCA(t)
	s := enginetest.NewSpace(t)
	sender := s.Begin(t, with(ca.Issue(t, time.Hour, "orders.example"), encrypted, func(c *actors.Config) {
		c.AllowMembers = func(destination, group string, id carrier.Identity) error {
			switch {
			case id.IsZero():
				panic("nobody")
			case destination == enginetest.Destination && group == enginetest.Group && id.Has("billing.example"):
				return nil
			}
			return errors.New("not on the list")
		}
	}))
	seen := eventsOf(t, sender)
	d := enginetest.Register(t, sender, senders.Config{})
	flows(t, d, enginetest.Join(t, s.Begin(t, with(ca.Issue(t, time.Hour, "billing.example"), encrypted)), members.Config{}))
	bare := ca.Issue(t, time.Hour, "billing.example")
	bare.Cert, bare.Key = "", ""
	for name, f := range map[string]carriertest.Files{"of another name": ca.Issue(t, time.Hour, "shipping.example"), "without a certificate": bare} {
		t.Run(name, func(t *testing.T) {
			e := s.Begin(t, with(f, encrypted))
			events := eventsOf(t, e)
			join(t, e)
			if got := delayed(t, events, "the proof is wrong"); strings.Contains(got.Err.Error(), "not on") {
				t.Errorf("the member is told why: %v", got.Err)
			}
			for {
				if r, ok := enginetest.Await(t, "ConnectionRefused", seen).(messages.ConnectionRefused); ok && r.Reason == "not-allowed" {
					return
				}
			}
		})
	}
}

// Promise: AllowMembers is asked again about links that stand, and who is refused now loses
// its link, hears what a wrong token hears, and is back when it may.
func TestAllowMembersIsAskedAgain(t *testing.T) {
	t.Parallel()
	ca := carriertest.NewCA(t)
	s := enginetest.NewSpace(t)
	var barred atomic.Bool
	var asked sync.Map
	sender := s.Begin(t, with(ca.Issue(t, time.Hour, "orders.example"), encrypted, func(c *actors.Config) {
		c.AllowMembersEvery = 50 * time.Millisecond
		c.AllowMembers = func(_, _ string, id carrier.Identity) error {
			asked.Store(id.String(), true)
			if barred.Load() && id.Has("billing.example") {
				return errors.New("dismissed")
			}
			return nil
		}
	}))
	seen := eventsOf(t, sender)
	d := enginetest.Register(t, sender, senders.Config{})
	e := s.Begin(t, with(ca.Issue(t, time.Hour, "billing.example"), encrypted))
	events := eventsOf(t, e)
	first := enginetest.Join(t, e, members.Config{ID: "first"})
	second := enginetest.Join(t, s.Begin(t, with(ca.Issue(t, time.Hour, "shipping.example"), encrypted)), members.Config{ID: "second"})
	barred.Store(true)
	for {
		if e, ok := enginetest.Await(t, "the link ends", seen).(messages.MemberUnlinked); ok {
			if e.Member != "first" || e.Cause == nil || !strings.Contains(e.Cause.Error(), "dismissed") {
				t.Errorf("%+v", e)
			}
			break
		}
	}
	if got := delayed(t, events, "the proof is wrong"); strings.Contains(got.Err.Error(), "dismissed") {
		t.Errorf("the member is told why: %v", got.Err)
	}
	flows(t, d, second)
	if err := second.Leave(enginetest.Within(t)); err != nil {
		t.Fatal(err)
	}
	barred.Store(false)
	flows(t, d, first)
}

// Promise: with AllowListedMembers a key in etcd says who may join a group, and who loses
// it loses the link, though the link is busy; its messages go to others.
func TestAllowListedMembers(t *testing.T) {
	t.Parallel()
	ctx := enginetest.Within(t)
	ca := carriertest.NewCA(t)
	s := enginetest.NewSpace(t)
	c := s.Client(t)
	allow := func(name, identity string) {
		if _, err := c.Put(ctx, s.Keys.Allowed(enginetest.Destination, enginetest.Group, name), identity); err != nil {
			t.Fatal(err)
		}
	}
	allow("first", "spiffe://example.org/billing")
	sender := s.Begin(t, with(ca.Issue(t, time.Hour, "orders.example"), encrypted, func(c *actors.Config) { c.AllowListedMembers = true }))
	seen := eventsOf(t, sender)
	d := enginetest.Register(t, sender, senders.Config{})
	first := enginetest.Join(t, s.Begin(t, with(ca.Issue(t, time.Hour, "spiffe://example.org/billing"), encrypted)), members.Config{ID: "first"})
	flows(t, d, first)

	other := s.Begin(t, with(ca.Issue(t, time.Hour, "shipping.example"), encrypted))
	events := eventsOf(t, other)
	second := enginetest.Join(t, other, members.Config{ID: "second"})
	delayed(t, events, "the proof is wrong")

	allow("second", "shipping.example")
	if _, err := c.Delete(ctx, s.Keys.Allowed(enginetest.Destination, enginetest.Group, "first")); err != nil {
		t.Fatal(err)
	}
	for lost, won := false, false; !lost || !won; {
		switch e := enginetest.Await(t, "one link ends and another comes", seen).(type) {
		case messages.MemberUnlinked:
			if e.Member != "first" || e.Cause == nil || !strings.Contains(e.Cause.Error(), "any more") {
				t.Errorf("%+v", e)
			}
			lost = true
		case messages.MemberLinked:
			won = won || e.Member == "second"
		}
	}
	flows(t, d, second)
}

// Promise: an authority that is taken away takes links with it, on both sides, and a
// certificate with another name is announced, without a restart.
func TestCertificatesAreReplaced(t *testing.T) {
	t.Parallel()
	for name, listen := range map[string]string{"a stream": encrypted, "a WebSocket": "wss://127.0.0.1:0/penstock"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			certificatesAreReplaced(t, listen)
		})
	}
}

func certificatesAreReplaced(t *testing.T, listen string) {
	ca, next := carriertest.NewCA(t), carriertest.NewCA(t)
	s := enginetest.NewSpace(t)
	theirs, ours := ca.Issue(t, time.Hour, "orders.example"), ca.Issue(t, time.Hour, "billing.example")
	sender := s.Begin(t, with(theirs, listen, mutual))
	seen := eventsOf(t, sender)
	d := enginetest.Register(t, sender, senders.Config{})
	member := s.Begin(t, with(ours, encrypted))
	m := enginetest.Join(t, member, members.Config{})
	got := make(chan struct{}, 16)
	enginetest.Consume(t, m, func(context.Context, messages.Delivery) error { got <- struct{}{}; return nil })
	enginetest.Send(t, d, 1)
	enginetest.Await(t, "a message", got)

	next.Renew(t, theirs, time.Hour, "orders-2.example") // and it trusts the next authority only
	for {
		if e, ok := enginetest.Await(t, "the link ends", seen).(messages.MemberUnlinked); ok {
			if e.Cause == nil || !strings.Contains(e.Cause.Error(), "not trusted any more") && !strings.Contains(e.Cause.Error(), "peer closed") {
				t.Errorf("it ended with %v", e.Cause)
			}
			break
		}
	}
	next.Renew(t, ours, time.Hour, "billing.example")
	enginetest.Send(t, d, 1)
	enginetest.Await(t, "a message over the next link", got)
}
