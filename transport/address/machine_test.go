package address

import (
	"net/netip"
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
	named := func(name string, n nic) nic { n.name = name; return n }
	silent := func(list ...string) nic { return nic{up: true, silent: true, addrs: addrs(list...)} }
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
		"a bridge of containers":        {machine{nics: []nic{lo, named("docker0", up("172.17.0.1")), named("br-4a0c", up("172.18.0.1")), named("eth0", up("192.168.1.9"))}}, "", "192.168.1.9"},
		"only bridges of containers":    {machine{nics: []nic{lo, named("docker0", silent("172.17.0.1")), named("br-4a0c", up("172.18.0.1"))}}, "", "172.18.0.1"},
		"the route leaves by a bridge":  {machine{nics: []nic{lo, named("br-lan", up("172.17.0.1")), named("eth0", up("192.168.1.9"))}, leaves: by("172.17.0.1", "")}, "", "172.17.0.1"},
		"a cable is out":                {machine{nics: []nic{lo, silent("10.0.0.1"), up("192.168.1.9")}}, "", "192.168.1.9"},
		"the only cable is out":         {machine{nics: []nic{lo, silent("10.0.0.1")}}, "", "10.0.0.1"},
		"a pod":                         {machine{nics: []nic{lo, named("eth0", up("10.244.1.7", "fe80::1"))}, leaves: by("10.244.1.7", "")}, "", "10.244.1.7"},
		"a zone":                        {machine{nics: []nic{lo, up("fe80::1%eth0", "fd00::6")}}, "", "fd00::6"},
		"a route for IPv6 only":         {machine{nics: []nic{lo, up("172.17.0.1"), up("2001:db8::7")}, leaves: by("", "2001:db8::7")}, "", "2001:db8::7 172.17.0.1"},
	} {
		if got := strings.Join(c.m.hosts(c.bind), " "); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
	for name, c := range map[string]struct {
		m        machine
		why      string
		doubtful bool
	}{
		"alone":      {machine{nics: []nic{lo}}, "no interface that is up", true},
		"nothing":    {machine{}, "no address at all", true},
		"routed":     {machine{nics: []nic{named("eth0", up("10.0.0.1"))}, leaves: by("10.0.0.1", "")}, "default route of IPv4", false},
		"unrouted":   {machine{nics: []nic{named("eth0", up("fd00::6"))}}, "no default route of IPv6", false},
		"cable":      {machine{nics: []nic{silent("10.0.0.1")}}, "not connected", true},
		"containers": {machine{nics: []nic{named("docker0", up("172.17.0.1"))}}, "for containers", true},
	} {
		got := c.m.choices("")
		if len(got) == 0 || !strings.Contains(got[0].Why, c.why) || got[0].Doubtful != c.doubtful {
			t.Errorf("%s: %+v, want %q", name, got, c.why)
		}
	}
	if got := Hosts(""); len(got) == 0 || len(got) > 2 {
		t.Errorf("this machine is %v", got)
	}
}
