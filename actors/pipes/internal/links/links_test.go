package links

import (
	"errors"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/carrier"
)

var (
	without  = &Config{}
	prefers  = &Config{TLS: &carrier.TLS{}}
	requires = &Config{TLS: &carrier.TLS{}, RequireTLS: true}
	listed   = &Config{TLS: &carrier.TLS{}, AllowListed: true}
)

// Promise: a member takes the encrypted URLs of a sender if both can encrypt, and never
// falls back; what is not possible has a reason.
func TestDials(t *testing.T) {
	const plain, secure = "tcp://10.0.0.1:1", "tls+tcp://10.0.0.1:2"
	const ws, wss, proxied = "ws://10.0.0.1:3/a", "wss://10.0.0.1:4/a", "wss://a.example:443/a?via=proxy"
	for _, c := range []struct {
		by        *Config
		announced string
		want      string
		err       error
	}{
		{without, plain, plain, nil},
		{without, plain + " tcp://[::1]:3", plain + " tcp://[::1]:3", nil},
		{without, plain + " " + secure, plain, nil},
		{without, secure, "", messages.ErrInsecure},
		{prefers, plain, plain, nil},
		{prefers, plain + " " + secure, secure, nil},
		{prefers, "quic://10.0.0.1:1 " + plain, plain, nil},
		{requires, plain, "", messages.ErrInsecure},
		{requires, plain + " " + secure, secure, nil},
		{requires, "", "", messages.ErrCorrupt},
		{prefers, "quic://10.0.0.1:1", "", messages.ErrCorrupt},
		{without, ws + " " + plain, plain + " " + ws, nil},
		{without, wss + " " + ws, ws, nil},
		{without, wss, "", messages.ErrInsecure},
		{without, plain + " " + proxied, proxied + " " + plain, nil},
		{prefers, proxied + " " + ws + " " + wss + " " + plain + " " + secure, secure + " " + wss + " " + proxied, nil},
		{prefers, proxied + " " + plain, proxied, nil},
		{prefers, ws, ws, nil},
		{requires, proxied + " " + wss, wss, nil},
		{requires, proxied, "", messages.ErrInsecure},
		{requires, ws, "", messages.ErrInsecure},
	} {
		got, err := c.by.Dials(&pb.Sender{Urls: strings.Fields(c.announced)})
		if !errors.Is(err, c.err) || strings.Join(got, " ") != c.want {
			t.Errorf("level %s, %q: %q, %v", c.by.Level(), c.announced, got, err)
		}
	}
	if without.Level() != pb.TLS_NO_TLS || prefers.Level() != pb.TLS_TLS_PREFERRED || requires.Level() != pb.TLS_TLS_REQUIRED {
		t.Error("levels are mixed up")
	}
}

// Promise: a member takes inproc only in the very process, ipc only on the same machine as
// far as that is known, and falls back to nothing that is less safe.
func TestDialsNearBy(t *testing.T) {
	const in, ipc, plain, secure = "inproc://a", "ipc:///a", "tcp://10.0.0.1:1", "tls+tcp://10.0.0.1:2"
	all := strings.Join([]string{plain, secure, ipc, in}, " ")
	here := Place{Process: "p", Machine: "m", Host: "h"}
	for _, c := range []struct {
		by     *Config
		sender *pb.Sender // without URLs
		urls   string
		want   string
		err    error
	}{
		{without, &pb.Sender{Process: "p", Machine: "m", Host: "h"}, all, in + " " + ipc + " " + plain, nil},
		{without, &pb.Sender{Process: "q", Machine: "m", Host: "other"}, all, ipc + " " + plain, nil},
		{without, &pb.Sender{Process: "q", Machine: "n", Host: "h"}, all, plain, nil}, // a host name that two have
		{without, &pb.Sender{Process: "q", Host: "h"}, all, ipc + " " + plain, nil},   // a system that does not say
		{without, &pb.Sender{Process: "q", Host: "other"}, all, plain, nil},
		{without, &pb.Sender{Host: "h"}, in, "", errElsewhere}, // of a version that lists no process
		{without, &pb.Sender{Machine: "n"}, ipc + " " + in, "", errElsewhere},
		{without, &pb.Sender{Machine: "n"}, ipc + " " + secure, "", messages.ErrInsecure},
		{prefers, &pb.Sender{Process: "p", Machine: "m"}, all, in + " " + ipc + " " + secure, nil},
		{requires, &pb.Sender{Process: "p", Machine: "m"}, all, in + " " + ipc + " " + secure, nil},
		{requires, &pb.Sender{Process: "p", Machine: "m"}, plain + " " + ipc, ipc, nil},
		{requires, &pb.Sender{Process: "q", Machine: "n"}, plain + " " + ipc, "", messages.ErrInsecure},
		{prefers, &pb.Sender{Process: "p", Machine: "m", AsksIdentity: true}, all, secure, nil},
		{requires, &pb.Sender{Process: "p", Machine: "m", AsksIdentity: true}, all, secure, nil},
		{prefers, &pb.Sender{Process: "p", Machine: "m", AsksIdentity: true}, ipc + " " + plain, ipc + " " + plain, nil},
		{without, &pb.Sender{Process: "p", Machine: "m", AsksIdentity: true}, all, in + " " + ipc + " " + plain, nil},
	} {
		by := *c.by
		by.Here = here
		c.sender.Urls = strings.Fields(c.urls)
		got, err := by.Dials(c.sender)
		if !errors.Is(err, c.err) || strings.Join(got, " ") != c.want {
			t.Errorf("level %s, %v: %q, %v; want %q, %v", by.Level(), c.sender, got, err, c.want, c.err)
		}
	}
	if got, err := (&Config{}).Dials(&pb.Sender{Urls: []string{in, ipc}}); err == nil {
		t.Errorf("two that know no place are in the same: %q", got)
	}
}

// Promise: where a runtime must not listen, every reason is named.
func TestListens(t *testing.T) {
	for _, c := range []struct {
		by         *Config
		text, says string
	}{
		{without, "tcp://:0", ""},
		{without, "tls+tcp://:0", "give LinkTLS"},
		{without, "", "there is none"},
		{without, "tcp://:0 tcp://:0", "twice"},
		{prefers, "tcp://:0 tls+tcp://:0", ""},
		{requires, "tls+tcp://:0", ""},
		{requires, "tcp://:0 tls+tcp://:0", "requires TLS"},
		{requires, "ws://:0?advertise=wss://a.example", "requires TLS"},
		{without, "wss://:0", "give LinkTLS"},
		{without, "ws://:1/a ws://:1/b", "one port serves one url"},
		{without, "wss://a.example:1?via=proxy", "dialled"},
		{requires, "tcp://:x tcp://:y", `"y"`},
		{requires, "ipc:///a inproc://a", ""},
		{listed, "tls+tcp://:0 ipc:///a", ""},
		{listed, "ipc:///a inproc://a", "AllowListedMembers goes by certificates"},
	} {
		urls, err := c.by.Listens(c.text)
		switch {
		case c.says == "" && (err != nil || len(urls) != len(strings.Fields(c.text))):
			t.Errorf("%q: %v, %v", c.text, urls, err)
		case c.says != "" && (!errors.Is(err, messages.ErrInvalid) || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%q: %v, want %q", c.text, err, c.says)
		}
	}
}

// Promise: who is not listed, or not known, may not join; nor may anybody before etcd
// was read.
func TestRights(t *testing.T) {
	r := Rights{"billing": {"spiffe://x/billing", "billing.example"}, "empty": {""}}
	billing := carrier.Identity{URIs: []string{"spiffe://x/billing"}}
	for _, c := range []struct {
		r     Rights
		group string
		id    carrier.Identity
		may   bool
	}{
		{r, "billing", billing, true},
		{r, "billing", carrier.Identity{DNSNames: []string{"BILLING.example"}}, true},
		{r, "shipping", billing, false},
		{r, "billing", carrier.Identity{URIs: []string{"spiffe://x/shipping"}}, false},
		{r, "billing", carrier.Identity{}, false},
		{r, "empty", carrier.Identity{DNSNames: []string{""}}, false},
		{nil, "billing", billing, false},
	} {
		if err := c.r.Check(c.group, c.id); (err == nil) != c.may {
			t.Errorf("%s, group %s: %v", c.id, c.group, err)
		}
	}
}
