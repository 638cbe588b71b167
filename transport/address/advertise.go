package address

// What a listener advertises when its URL says so: names and addresses, or a variable of
// the environment that has them.

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"

	"github.com/penstock-io/penstock/messages"
)

// Listening takes apart the addresses of one listener as ParseAll does, and puts the
// values of this process's environment in place of variables. Its error wraps
// messages.ErrInvalid and names every fault, a variable that is not set included.
func Listening(text string) ([]URL, error) { return listening(text, os.LookupEnv) }

func listening(text string, env func(name string) (string, bool)) ([]URL, error) {
	urls, err := ParseAll(text)
	if err != nil {
		return nil, err
	}
	var faults []error
	for i, u := range urls {
		if urls[i].Advertise, err = resolve(u.Advertise, env); err != nil {
			faults = append(faults, fmt.Errorf("url %q: %w: %w", u, err, messages.ErrInvalid))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return urls, nil
}

// resolve puts the value of a variable in its place; what has none stays.
func resolve(advertise string, env func(name string) (string, bool)) (string, error) {
	name, port, isVariable := variable(advertise)
	if !isVariable {
		return advertise, nil
	}
	value, set := env(name)
	value = strings.TrimSpace(value)
	switch {
	case !set:
		return "", fmt.Errorf("advertise: the environment variable %s is not set", name)
	case value == "":
		return "", fmt.Errorf("advertise: the environment variable %s is empty", name)
	case strings.Contains(value, "$"):
		return "", fmt.Errorf("advertise: the environment variable %s is %q, and not an address", name, value)
	}
	ends, err := endsOf(value)
	for i := range ends {
		if port != "" && ends[i].port != "" && err == nil {
			err = fmt.Errorf("%q has a port, and the url gives it another", value)
		}
		if port != "" {
			ends[i].port = port
		}
	}
	if err == nil {
		err = checkEnds(ends)
	}
	if err != nil {
		return "", fmt.Errorf("advertise: the environment variable %s: %w", name, err)
	}
	texts := make([]string, len(ends))
	for i, e := range ends {
		texts[i] = e.String()
	}
	return strings.Join(texts, ","), nil
}

// variable takes apart $NAME, ${NAME}, $NAME:port and ${NAME}:port.
func variable(s string) (name, port string, ok bool) {
	rest, ok := strings.CutPrefix(s, "$")
	if !ok {
		return "", "", false
	}
	name, port, _ = strings.Cut(rest, ":")
	if inner, braced := strings.CutPrefix(name, "{"); braced {
		if name, braced = strings.CutSuffix(inner, "}"); !braced {
			name = rest // no name, as checkVariable says
		}
	}
	return name, port, true
}

func checkVariable(s, name, port string) error {
	for i, c := range []byte(name) {
		if c != '_' && (c|0x20 < 'a' || c|0x20 > 'z') && (i == 0 || c < '0' || c > '9') {
			return fmt.Errorf("advertise %q: %q is not the name of an environment variable", s, name)
		}
	}
	if name == "" {
		return fmt.Errorf("advertise %q: the name of an environment variable is missing", s)
	}
	if strings.Contains(s, ":") {
		if n, err := parsePort(port); err != nil || n == 0 {
			return fmt.Errorf("advertise %q: port is not a number from 1 to 65535", s)
		}
	}
	return nil
}

// end is one place that others shall dial; without a port it is the bound one.
type end struct{ host, port string }

func (e end) String() string {
	if e.port == "" {
		return e.host
	}
	return net.JoinHostPort(e.host, e.port)
}

// endsOf takes host, host:port, an IPv6 address, [IPv6] or [IPv6]:port, and several of
// them with commas in between.
func endsOf(s string) (ends []end, err error) {
	for text := range strings.SplitSeq(s, ",") {
		text = strings.TrimSpace(text)
		e := end{host: text}
		if inner, ok := strings.CutPrefix(text, "["); ok && strings.HasSuffix(inner, "]") {
			text = strings.TrimSuffix(inner, "]")
			if ip, err := netip.ParseAddr(text); err != nil || !ip.Is6() {
				return nil, fmt.Errorf("%q is not an IPv6 address", text)
			}
			e.host = text
		}
		if _, err := netip.ParseAddr(text); err != nil && strings.ContainsAny(text, ":[") {
			if e.host, e.port, err = splitHostPort(text); err != nil {
				return nil, fmt.Errorf("%q: %w", text, err)
			}
			if e.port == "" {
				return nil, fmt.Errorf("%q: empty port", text)
			}
		}
		ends = append(ends, e)
	}
	return ends, nil
}

func checkEnds(ends []end) error {
	seen := make(map[end]bool)
	for _, e := range ends {
		if e.port != "" {
			if n, err := parsePort(e.port); err != nil || n == 0 {
				return fmt.Errorf("%q: port is not a number from 1 to 65535", e)
			}
		}
		if e.host == "" {
			return errors.New("a host is missing")
		}
		if everyInterface(e.host) {
			return fmt.Errorf("%q: nobody can dial that host", e.host)
		}
		if err := checkHost(e.host); err != nil {
			return err
		}
		if linkLocal(e.host) {
			return fmt.Errorf("%q: an address of one link cannot be dialled by others", e.host)
		}
		if seen[e] {
			return fmt.Errorf("%q is given twice", e)
		}
		seen[e] = true
	}
	return nil
}

func checkAdvertise(s string) error {
	if name, port, ok := variable(s); ok {
		return checkVariable(s, name, port)
	}
	ends, err := endsOf(s)
	if err == nil {
		err = checkEnds(ends)
	}
	if err != nil {
		return fmt.Errorf("advertise %q: %w", s, err)
	}
	return nil
}

// linkLocal reports whether host is an IPv6 address that means something on one link, or
// has a zone, which means something on one machine.
func linkLocal(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.Zone() != "" || ip.Is6() && ip.IsLinkLocalUnicast())
}

// checkBind finds what could be bound and not dialled by others.
func checkBind(u URL) error {
	if u.Advertise == "" && linkLocal(u.Host) {
		return fmt.Errorf("host %q is an address of one link, which others cannot dial: name what they can with ?advertise=", u.Host)
	}
	return nil
}

// Advertised are the URLs that others dial, once port is bound; hosts names this
// machine, and is asked only when the configuration does not say.
func (u URL) Advertised(port string, hosts func(bind string) []string) []string {
	if u.fronted() {
		if f, err := u.front(); err == nil { // it was checked
			return []string{f.String()}
		}
	}
	if !u.Network() {
		return []string{u.advertisedHere()}
	}
	ends := []end{{host: u.Host}}
	switch {
	case u.Advertise != "":
		ends, _ = endsOf(u.Advertise) // it was checked
	case everyInterface(u.Host):
		ends = nil
		for _, h := range hosts(u.Host) {
			ends = append(ends, end{host: h})
		}
	}
	urls := make([]string, len(ends))
	for i, e := range ends {
		if e.port == "" {
			e.port = port
		}
		urls[i] = u.Scheme + "://" + e.String() + u.Path
	}
	return urls
}
