package doctor

// Which addresses a sender on this machine would advertise, and whether others can dial
// them.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/transport/address"
)

// network is what there is to ask about this machine.
type network struct {
	choices func(bind string) []address.Choice
	own     func() []netip.Addr
	lookup  func(ctx context.Context, name string) ([]string, error)
}

// thisNetwork asks the system.
var thisNetwork = network{choices: address.Choices, own: address.Own, lookup: net.DefaultResolver.LookupHost}

// addresses looks at what a sender that listens at these URLs would advertise.
func (d *diagnosis) addresses(ctx context.Context, listen string, n network) {
	asked, err := address.ParseAll(listen)
	if err != nil {
		d.add(check{Name: "addresses", Status: verdictFail, Found: err.Error(), Do: "correct --listen"})
		return
	}
	urls, err := address.Listening(listen)
	if err != nil {
		d.add(check{Name: "addresses", Status: verdictFail, Found: err.Error(), Do: "set the variable where the sender runs, and doctor too"})
		return
	}
	for i, u := range urls {
		if u.Network() {
			d.addressesOf(ctx, asked[i], u, n)
		}
	}
}

func (d *diagnosis) addressesOf(ctx context.Context, asked, u address.URL, n network) {
	name := "address of " + asked.String()
	if u.Advertise == "" && u.EveryInterface() {
		for _, c := range n.choices(u.Host) {
			d.add(judgeChoice(name, c))
		}
		return
	}
	why := "--listen says so"
	if asked.Advertise != u.Advertise {
		why = "the environment variable in --listen says so"
	}
	for _, a := range u.Advertised("1", nil) {
		to, _, err := address.Dial(a)
		if err != nil {
			d.add(check{Name: name, Status: verdictFail, Found: err.Error()})
			continue
		}
		var found []string
		if _, err := netip.ParseAddr(to.Host); err != nil {
			asking, cancel := context.WithTimeout(ctx, dialTimeout)
			found, err = n.lookup(asking, to.Host)
			cancel()
			if err != nil {
				d.add(judgeName(name, to.Host, err))
				continue
			}
		} else {
			found = []string{to.Host}
		}
		d.add(judgeGiven(name, to.Host, why, found, n.own(), u.Advertise != ""))
	}
}

// judgeChoice is about an address that was chosen because none is said.
func judgeChoice(name string, c address.Choice) check {
	from := ""
	if c.Interface != "" {
		from = " of " + cli.Clean(c.Interface)
	}
	made := check{Name: name, Status: verdictOK, Found: fmt.Sprintf("a sender here advertises %s%s: %s", c.Addr, from, c.Why)}
	switch {
	case c.Addr.IsLoopback():
		made.Status, made.Do = verdictWarn, "nobody on another machine can dial it: wait for the network, or name an address with ?advertise= if members run elsewhere"
	case c.Doubtful:
		made.Status, made.Do = verdictWarn, "others may be unable to dial it: name one that they can with ?advertise="
	}
	return made
}

// judgeName is about a name that could not be looked up.
func judgeName(name, host string, err error) check {
	made := check{Name: name, Status: verdictFail, Found: fmt.Sprintf("a sender here advertises %s, which cannot be looked up here: %v", host, err), Do: "correct the name, or advertise an address"}
	if unknown := (*net.DNSError)(nil); !errors.As(err, &unknown) || !unknown.IsNotFound {
		made.Status, made.Do = verdictWarn, "look at the DNS of this machine; members have to look it up as well"
	}
	return made
}

// judgeGiven is about an address, or those of a name, that the URL says.
func judgeGiven(name, host, why string, found []string, own []netip.Addr, advertised bool) check {
	made := check{Name: name, Status: verdictOK, Found: fmt.Sprintf("a sender here advertises %s: %s", host, why)}
	if !slices.Equal(found, []string{host}) {
		made.Found += "; it is " + strings.Join(found, ", ")
	}
	isOwn, isLocal := false, true
	for _, text := range found {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			continue
		}
		ip = ip.Unmap().WithZone("")
		isOwn = isOwn || ip.IsLoopback() || slices.Contains(own, ip)
		isLocal = isLocal && ip.IsLoopback()
	}
	switch {
	case isLocal:
		made.Status, made.Do = verdictWarn, "nobody on another machine can dial it"
	case !isOwn && advertised:
		made.Status, made.Found = verdictWarn, made.Found+"; it is no address of this machine"
		made.Do = "that is right where it is forwarded to this one, and only to it"
	case !isOwn:
		made.Status, made.Found = verdictFail, made.Found+"; it is no address of this machine"
		made.Do = "listen at one that is, or at every interface"
	}
	return made
}
