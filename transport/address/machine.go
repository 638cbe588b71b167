package address

// Which addresses of this machine others can dial. The choice is a function of
// what the system says; only machineNow asks it.

import (
	"net"
	"net/netip"
	"slices"
	"strings"
)

// nic is one interface of this machine, as far as the choice needs it.
type nic struct {
	name string
	// up is what the administrator says; silent says that nothing is connected.
	up, silent, loopback bool
	addrs                []netip.Addr
}

// inner reports whether others reach what is behind the interface only from this
// machine: a bridge or a tunnel of containers and virtual machines.
func (n nic) inner() bool {
	return slices.ContainsFunc(innerNames, func(prefix string) bool { return strings.HasPrefix(n.name, prefix) })
}

// innerNames are how the names of such interfaces begin.
var innerNames = []string{"docker", "br-", "podman", "virbr", "cni", "lxcbr", "lxdbr", "veth", "vboxnet", "vmnet"}

// machine is what the system says of its network.
type machine struct {
	nics []nic
	// leaves are the addresses from which the default routes of IPv4 and IPv6
	// leave; invalid where there is none.
	leaves [2]netip.Addr
}

// Choice is an address of this machine that a listener on every interface advertises.
type Choice struct {
	Addr netip.Addr
	// Interface is the name of the interface that has it; empty when none was found.
	Interface string
	// Why it is this one, as half a sentence.
	Why string
	// Doubtful says that others may be unable to dial it.
	Doubtful bool
}

// choices are the addresses to advertise for a socket that is bound to every
// interface: at most one of each family, which members try in turn. That is the
// one that the default route leaves from, as long as an interface that is up has
// it, else the first of such an interface: one that is connected goes before one
// that is not, and both before bridges of containers. The family that has a default
// route goes first, and IPv4 before IPv6. Without any, the machine is alone, and its
// loopback addresses are all there is. bind is 0.0.0.0 for IPv4 only.
func (m machine) choices(bind string) []Choice {
	families := []func(netip.Addr) bool{netip.Addr.Is4, netip.Addr.Is6}
	names := []string{"IPv4", "IPv6"}
	if bind == "0.0.0.0" {
		families = families[:1]
	}
	var routed, other, alone []Choice
	for i, is := range families {
		usable := m.addrs(func(n nic, a netip.Addr) bool { return is(a) && !n.loopback && a.IsGlobalUnicast() })
		at := slices.IndexFunc(usable, func(p place) bool { return p.addr == m.leaves[i] })
		switch {
		case at >= 0:
			routed = append(routed, usable[at].choice("the default route of "+names[i]+" leaves from it"))
		case len(usable) > 0:
			best := slices.MinFunc(usable, func(a, b place) int { return a.rank() - b.rank() })
			c := best.choice("there is no default route of " + names[i] + ", and it is the first address of an interface that is up")
			if c.Doubtful = best.rank() > 0; best.nic.silent {
				c.Why += ", which is not connected"
			}
			if best.nic.inner() {
				c.Why += ", which is for containers of this machine"
			}
			other = append(other, c)
		}
		if local := m.addrs(func(_ nic, a netip.Addr) bool { return is(a) && a.IsLoopback() }); len(local) > 0 {
			c := local[0].choice("no interface that is up has another address")
			c.Doubtful = true
			alone = append(alone, c)
		}
	}
	if found := append(routed, other...); len(found) > 0 {
		return found
	}
	if len(alone) == 0 { // it is asked again
		return []Choice{{Addr: netip.AddrFrom4([4]byte{127, 0, 0, 1}), Why: "the system shows no address at all", Doubtful: true}}
	}
	return alone
}

// place is an address and the interface that has it.
type place struct {
	nic  nic
	addr netip.Addr
}

func (p place) choice(why string) Choice {
	return Choice{Addr: p.addr, Interface: p.nic.name, Why: why}
}

// rank is how little others are likely to reach it.
func (p place) rank() (r int) {
	if p.nic.silent {
		r++
	}
	if p.nic.inner() {
		r += 2
	}
	return r
}

// hosts are the choices as texts.
func (m machine) hosts(bind string) (hosts []string) {
	for _, c := range m.choices(bind) {
		hosts = append(hosts, c.Addr.String())
	}
	return hosts
}

// addrs are the addresses of interfaces that are up, in the system's order.
func (m machine) addrs(want func(nic, netip.Addr) bool) (found []place) {
	for _, n := range m.nics {
		for _, a := range n.addrs {
			if n.up && want(n, a) {
				found = append(found, place{n, a})
			}
		}
	}
	return found
}

// Hosts are the addresses of this machine to advertise for a socket that is bound to
// bind, 0.0.0.0 for IPv4 only: at most one of each family, which members try in
// turn. It asks the system and does not block otherwise.
func Hosts(bind string) []string { return machineNow().hosts(bind) }

// Choices are Hosts, with reasons. It asks the system and does not block otherwise.
func Choices(bind string) []Choice { return machineNow().choices(bind) }

// Own are the addresses of this machine's interfaces that are up. It asks the system and
// does not block otherwise.
func Own() (own []netip.Addr) {
	for _, p := range machineNow().addrs(func(nic, netip.Addr) bool { return true }) {
		own = append(own, p.addr)
	}
	return own
}

// machineNow asks the system. What it does not say is not there.
func machineNow() machine {
	m := machine{leaves: [2]netip.Addr{leaves("udp4", "192.0.2.1:9"), leaves("udp6", "[2001:db8::1]:9")}}
	nics, _ := net.Interfaces()
	for _, i := range nics {
		n := nic{name: i.Name, up: i.Flags&net.FlagUp != 0, silent: i.Flags&net.FlagRunning == 0, loopback: i.Flags&net.FlagLoopback != 0}
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
	c, err := (&net.Dialer{Control: stable}).Dial(network, elsewhere)
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

// ThisMachineOnly reports whether all of some advertised URLs are loopback
// addresses or stay in the machine by their scheme, so that nobody elsewhere can dial
// them.
func ThisMachineOnly(urls []string) bool {
	return !slices.ContainsFunc(urls, func(s string) bool {
		u, err := Parse(s)
		if err == nil && !u.Network() {
			return false
		}
		ip, aerr := netip.ParseAddr(u.Host)
		return err != nil || aerr != nil || !ip.IsLoopback()
	})
}
