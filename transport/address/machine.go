package address

// Which addresses of this machine others can dial. The choice is a function of
// what the system says; only machineNow asks it.

import (
	"net"
	"net/netip"
	"slices"
)

// nic is one interface of this machine, as far as the choice needs it.
type nic struct {
	up, loopback bool
	addrs        []netip.Addr
}

// machine is what the system says of its network.
type machine struct {
	nics []nic
	// leaves are the addresses from which the default routes of IPv4 and IPv6
	// leave; invalid where there is none.
	leaves [2]netip.Addr
}

// hosts are the addresses to advertise for a socket that is bound to every
// interface: at most one of each family, which members try in turn. That is the
// one that the default route leaves from, as long as an interface that is up has
// it, else the first of such an interface; the family that has a default route
// goes first, and IPv4 before IPv6. Without any, the machine is alone, and its
// loopback addresses are all there is. bind is 0.0.0.0 for IPv4 only.
func (m machine) hosts(bind string) []string {
	families := []func(netip.Addr) bool{netip.Addr.Is4, netip.Addr.Is6}
	if bind == "0.0.0.0" {
		families = families[:1]
	}
	var routed, other, alone []string
	for i, is := range families {
		usable := m.addrs(func(n nic, a netip.Addr) bool { return is(a) && !n.loopback && a.IsGlobalUnicast() })
		switch {
		case slices.Contains(usable, m.leaves[i]):
			routed = append(routed, m.leaves[i].String())
		case len(usable) > 0:
			other = append(other, usable[0].String())
		}
		if local := m.addrs(func(_ nic, a netip.Addr) bool { return is(a) && a.IsLoopback() }); len(local) > 0 {
			alone = append(alone, local[0].String())
		}
	}
	if found := append(routed, other...); len(found) > 0 {
		return found
	}
	if len(alone) == 0 {
		return []string{"127.0.0.1"} // it is asked again
	}
	return alone
}

// addrs are the addresses of interfaces that are up, in the system's order.
func (m machine) addrs(want func(nic, netip.Addr) bool) (found []netip.Addr) {
	for _, n := range m.nics {
		for _, a := range n.addrs {
			if n.up && want(n, a) {
				found = append(found, a)
			}
		}
	}
	return found
}

// Hosts are the addresses of this machine to advertise for a socket that is bound to
// bind, 0.0.0.0 for IPv4 only: at most one of each family, which members try in
// turn. It asks the system and does not block otherwise.
func Hosts(bind string) []string { return machineNow().hosts(bind) }

// machineNow asks the system. What it does not say is not there.
func machineNow() machine {
	m := machine{leaves: [2]netip.Addr{leaves("udp4", "192.0.2.1:9"), leaves("udp6", "[2001:db8::1]:9")}}
	nics, _ := net.Interfaces()
	for _, i := range nics {
		n := nic{up: i.Flags&net.FlagUp != 0, loopback: i.Flags&net.FlagLoopback != 0}
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			if p, err := netip.ParsePrefix(a.String()); err == nil {
				n.addrs = append(n.addrs, p.Addr().Unmap())
			}
		}
		m.nics = append(m.nics, n)
	}
	return m
}

// leaves is the address from which packets to elsewhere leave. Connecting a UDP
// socket sends nothing; the addresses are reserved for documentation.
func leaves(network, elsewhere string) netip.Addr {
	c, err := net.Dial(network, elsewhere)
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	at, ok := c.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.Addr{}
	}
	return at.AddrPort().Addr().Unmap().WithZone("")
}

// Advertised are the URLs that others dial, once port is bound; hosts names this
// machine, and is asked only when the configuration does not say.
func (u URL) Advertised(port string, hosts func(bind string) []string) []string {
	names := []string{u.Host}
	switch {
	case u.Advertise != "":
		h, p, err := splitAdvertise(u.Advertise)
		if err == nil {
			names = []string{h}
			if p != "" {
				port = p
			}
		}
	case everyInterface(u.Host):
		names = hosts(u.Host)
	}
	urls := make([]string, len(names))
	for i, name := range names {
		urls[i] = u.Scheme + "://" + net.JoinHostPort(name, port)
	}
	return urls
}

// ThisMachineOnly reports whether all of some advertised URLs are loopback
// addresses, so that nobody elsewhere can dial them.
func ThisMachineOnly(urls []string) bool {
	return !slices.ContainsFunc(urls, func(s string) bool {
		u, err := Parse(s)
		ip, aerr := netip.ParseAddr(u.Host)
		return err != nil || aerr != nil || !ip.IsLoopback()
	})
}
