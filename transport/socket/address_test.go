package socket

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func addrs(list ...string) (out []netip.Addr) {
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

// Only what can be dialled is advertised: by the route that packets leave by, of
// interfaces that are up, one address of each family.
func TestHosts(t *testing.T) {
	lo := nic{up: true, loopback: true, addrs: addrs("127.0.0.1", "::1")}
	up := func(list ...string) nic { return nic{up: true, addrs: addrs(list...)} }
	down := func(list ...string) nic { return nic{addrs: addrs(list...)} }
	by := func(four, six string) (out [2]netip.Addr) {
		for i, s := range []string{four, six} {
			if s != "" {
				out[i] = netip.MustParseAddr(s)
			}
		}
		return out
	}
	for name, c := range map[string]struct {
		m    machine
		bind string
		want string
	}{
		"alone":                         {machine{nics: []nic{lo}}, "", "127.0.0.1 ::1"},
		"alone, IPv4 asked for":         {machine{nics: []nic{lo}}, "0.0.0.0", "127.0.0.1"},
		"alone, IPv6 only":              {machine{nics: []nic{{up: true, loopback: true, addrs: addrs("::1")}}}, "", "::1"},
		"nothing at all":                {machine{}, "", "127.0.0.1"},
		"link-local only":               {machine{nics: []nic{lo, up("fe80::1", "169.254.1.1")}}, "", "127.0.0.1 ::1"},
		"an address on the loopback":    {machine{nics: []nic{{up: true, loopback: true, addrs: addrs("127.0.0.1", "10.9.9.9")}}}, "", "127.0.0.1"},
		"both families":                 {machine{nics: []nic{lo, up("fe80::1", "2001:db8::7", "192.168.1.9")}, leaves: by("192.168.1.9", "2001:db8::7")}, "", "192.168.1.9 2001:db8::7"},
		"both, IPv4 asked for":          {machine{nics: []nic{lo, up("2001:db8::7", "192.168.1.9")}}, "0.0.0.0", "192.168.1.9"},
		"both, bound to ::":             {machine{nics: []nic{lo, up("2001:db8::7", "192.168.1.9")}}, "::", "192.168.1.9 2001:db8::7"},
		"IPv6 only":                     {machine{nics: []nic{lo, up("2001:db8::7")}, leaves: by("", "2001:db8::7")}, "", "2001:db8::7"},
		"IPv6 only, IPv4 asked for":     {machine{nics: []nic{lo, up("2001:db8::7")}}, "0.0.0.0", "127.0.0.1"},
		"the first is down":             {machine{nics: []nic{lo, down("10.0.0.1"), up("192.168.1.9")}}, "", "192.168.1.9"},
		"all are down":                  {machine{nics: []nic{lo, down("10.0.0.1")}}, "", "127.0.0.1 ::1"},
		"the route leaves by another":   {machine{nics: []nic{lo, up("172.17.0.1"), up("192.168.1.9")}, leaves: by("192.168.1.9", "")}, "", "192.168.1.9"},
		"the route's address is gone":   {machine{nics: []nic{lo, up("172.17.0.1")}, leaves: by("192.168.1.9", "")}, "", "172.17.0.1"},
		"the route's interface is down": {machine{nics: []nic{lo, down("192.168.1.9"), up("172.17.0.1")}, leaves: by("192.168.1.9", "")}, "", "172.17.0.1"},
		"a route for IPv6 only":         {machine{nics: []nic{lo, up("172.17.0.1"), up("2001:db8::7")}, leaves: by("", "2001:db8::7")}, "", "2001:db8::7 172.17.0.1"},
	} {
		if got := strings.Join(c.m.hosts(c.bind), " "); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	if got := machineNow().hosts(""); len(got) == 0 || len(got) > 2 {
		t.Errorf("this machine is %v", got)
	}
}

// A listener follows its machine's addresses, and lets in who dials an old one.
func TestListenerLooks(t *testing.T) {
	l, err := Listen(context.Background(), ListenerConfig{Lookup: func(string) (Secret, bool) { return Secret{}, false }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	first := l.URLs()
	if l.Look() || l.URL() != first[0] {
		t.Errorf("%v changed by itself to %v", first, l.URLs())
	}
	l.machine = func() machine { return machine{nics: []nic{{up: true, addrs: addrs("10.9.8.7")}}} }
	if !l.Look() || l.Look() || len(l.URLs()) != 1 || !strings.HasPrefix(l.URLs()[0], "tcp://10.9.8.7:") {
		t.Errorf("the address changed, and %v is advertised", l.URLs())
	}
	if d := l.dialled(); !slices.Contains(d, first[0]) || !slices.Contains(d, l.URLs()[0]) {
		t.Errorf("let in are those who dialled %v", d)
	}
}
