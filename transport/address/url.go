package address

// A URL taken apart and put together.

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/penstock-io/penstock/messages"
)

// The transports that a URL may name.
const (
	TCP = "tcp"
	// TLS is TLS 1.3 over tcp.
	TLS = "tls+tcp"
	// WS is WebSocket over tcp, which reverse proxies pass on, and WSS the same over
	// TLS 1.3.
	WS  = "ws"
	WSS = "wss"
)

// rules are what the URLs of a scheme may say.
type rules struct {
	// parse takes apart what follows the scheme.
	parse func(scheme, rest string) (URL, error)
	// check finds every fault of a URL of the scheme.
	check func(URL) error
	// text is what follows the scheme; parse takes it apart again.
	text func(URL) string
	// dial is where an advertised URL leads, as the transport takes it.
	dial func(URL) (at string, err error)
	// network reports whether links of the scheme leave the machine, and encrypted
	// whether nobody on the path can read them.
	network, encrypted bool
}

var schemes = map[string]rules{
	TCP: {parse: parseNetwork, check: checkNetwork, text: networkText, dial: dialNetwork, network: true},
	TLS: {parse: parseNetwork, check: checkNetwork, text: networkText, dial: dialNetwork, network: true, encrypted: true},
	WS:  {parse: parseWebSocket, check: checkWebSocket, text: webSocketText, dial: dialNetwork, network: true},
	WSS: {parse: parseWebSocket, check: checkWebSocket, text: webSocketText, dial: dialNetwork, network: true, encrypted: true},
	IPC: {parse: parseIPC, check: checkIPC, text: ipcText, dial: dialIPC},

	InProc: {parse: parseInProc, check: checkInProc, text: inProcText, dial: dialInProc},
}

// URL is a listener's address, taken apart:
//
//	tcp://host:port[-port][?advertise=host[:port][,host[:port]...]]
//	tls+tcp://host:port[-port][?advertise=host[:port][,host[:port]...]]
//	ws://host:port[-port][/path][?advertise=host[:port][,host[:port]...]]
//	wss://host:port[-port][/path][?advertise=host[:port][,host[:port]...]]
//
// for example tcp://127.0.0.1:0, tls+tcp://:7000-7010?advertise=orders.example.com,
// tcp://:7000?advertise=$POD_IP or, behind a proxy,
// ws://:8080/penstock?advertise=wss://orders.example.com/penstock.
type URL struct {
	// Scheme names the transport.
	Scheme string
	// Host is the name or address to bind, without brackets. Empty (or * in
	// the text form), 0.0.0.0 and :: mean every interface.
	Host string
	// PortLow and PortHigh are the ports to try, in order, both included. Both
	// 0 lets the system choose one.
	PortLow, PortHigh int
	// Advertise is the host others shall dial, or host:port where a port is
	// forwarded, or several with commas in between. $NAME or ${NAME}, with :port
	// behind it or without, is what that environment variable says; Listening
	// puts its value here. Empty means Host; where that is every interface, the
	// address of each family from which the default route leaves, else the first
	// of an interface that is up, else a loopback address: only this machine can
	// dial that. Names are advertised only where they are given here. Of ws and wss
	// it may be a URL, with a path and without options: that of a proxy in front.
	Advertise string
	// Path is what a request for a WebSocket names; / when it is empty. Other schemes
	// have none.
	Path string
	// Proxied tells of a wss URL to dial that a proxy is there, at which TLS ends: its
	// certificate is not the sender's. In the text form it is the option via=proxy.
	Proxied bool

	// File is where the socket of ipc is, and Advertise where members dial it:
	// absolute, and as short as path.Clean makes it.
	File string
	// Mode is the mode of that file, DefaultMode if 0; Owner and Group are whose it is,
	// names or numbers, this process's if empty.
	Mode         uint32
	Owner, Group string
}

// Parse takes apart a listener's address. Its errors wrap
// messages.ErrInvalid and name the part that is wrong.
func Parse(s string) (URL, error) {
	u, err := parseURL(s)
	if err != nil {
		return URL{}, fmt.Errorf("url %q: %w: %w", s, err, messages.ErrInvalid)
	}
	return u, nil
}

func parseURL(s string) (URL, error) {
	name, rest, ok := strings.Cut(s, "://")
	if !ok {
		return URL{}, errors.New("no scheme, such as tcp://")
	}
	scheme, ok := schemes[name]
	if !ok {
		return URL{}, fmt.Errorf("scheme %q is not one of %s", name, supported())
	}
	return scheme.parse(name, rest)
}

func parseNetwork(name, rest string) (URL, error) {
	address, query, hasQuery := strings.Cut(rest, "?")
	u, err := parseBind(name, address)
	if err == nil && hasQuery {
		u.Advertise, err = parseQuery(query)
	}
	if err != nil {
		return URL{}, err
	}
	return u, checkBind(u)
}

// parseBind takes apart what is before a path and options.
func parseBind(name, address string) (URL, error) {
	u := URL{Scheme: name}
	if i := strings.IndexAny(address, "/#@"); i >= 0 {
		return URL{}, fmt.Errorf("address %q: %q has no meaning in a %s url", address, address[i], name)
	}
	host, ports, err := splitHostPort(address)
	if err != nil {
		return URL{}, fmt.Errorf("address %q: %w", address, err)
	}
	if host == "*" {
		host = ""
	}
	if host != "" {
		if err := checkHost(host); err != nil {
			return URL{}, err
		}
	}
	u.Host = host
	u.PortLow, u.PortHigh, err = parsePorts(ports)
	return u, err
}

// Check finds every fault of a URL that may not come from Parse.
func (u URL) Check() error {
	scheme, ok := schemes[u.Scheme]
	if !ok {
		return fmt.Errorf("scheme %q is not one of %s", u.Scheme, supported())
	}
	return scheme.check(u)
}

func checkNetwork(u URL) error {
	faults := checkBound(u)
	if u.Advertise != "" {
		faults = append(faults, checkAdvertise(u.Advertise))
	}
	return errors.Join(faults...)
}

// checkBound checks what a listener binds.
func checkBound(u URL) (faults []error) {
	if u.Host != "" {
		faults = append(faults, checkHost(u.Host), checkBind(u))
	}
	return append(faults, checkPorts(u.PortLow, u.PortHigh))
}

// String is the text form; Parse of it gives u again.
func (u URL) String() string {
	scheme, ok := schemes[u.Scheme]
	if !ok {
		scheme.text = networkText
	}
	return u.Scheme + "://" + scheme.text(u)
}

func networkText(u URL) string {
	var b strings.Builder
	b.WriteString(net.JoinHostPort(u.Host, u.portText()))
	if u.Advertise != "" {
		b.WriteString("?advertise=")
		b.WriteString(plainly.Replace(url.QueryEscape(u.Advertise)))
	}
	return b.String()
}

// plainly undoes the escapes that a query does not need.
var plainly = strings.NewReplacer("%24", "$", "%2C", ",", "%2F", "/", "%3A", ":", "%5B", "[", "%5D", "]", "%7B", "{", "%7D", "}")

func (u URL) portText() string {
	if u.PortLow == u.PortHigh {
		return strconv.Itoa(u.PortLow)
	}
	return strconv.Itoa(u.PortLow) + "-" + strconv.Itoa(u.PortHigh)
}

// Dial takes apart s, an advertised URL, and returns where it leads: host:port. Its
// errors wrap messages.ErrInvalid.
func Dial(s string) (URL, string, error) {
	u, err := Parse(s)
	if err != nil {
		return URL{}, "", err
	}
	at, err := schemes[u.Scheme].dial(u)
	if err != nil {
		return URL{}, "", fmt.Errorf("url %q: %w: %w", s, err, messages.ErrInvalid)
	}
	return u, at, nil
}

func dialNetwork(u URL) (string, error) {
	switch {
	case u.PortLow != u.PortHigh || u.PortLow == 0:
		return "", errors.New("port " + strconv.Quote(u.portText()) + " cannot be dialled")
	case everyInterface(u.Host):
		return "", errors.New("host " + strconv.Quote(u.Host) + " cannot be dialled")
	case u.Advertise != "":
		return "", errors.New("advertise is for listeners")
	}
	return net.JoinHostPort(u.Host, strconv.Itoa(u.PortLow)), nil
}

// EndToEnd reports whether nobody but the sender can read links of u's scheme, and the
// sender proves with its certificate who it is.
func (u URL) EndToEnd() bool { return u.Encrypted() && !u.Proxied }

// Network reports whether links of u's scheme go over a network.
func (u URL) Network() bool { return schemes[u.Scheme].network }

// EveryInterface reports whether u binds every interface.
func (u URL) EveryInterface() bool { return everyInterface(u.Host) }

// Encrypted reports whether nobody on the path can read links of u's scheme; a proxy at
// which TLS ends can.
func (u URL) Encrypted() bool { return schemes[u.Scheme].encrypted }

// ParseAll takes apart the addresses of one listener, with spaces between them. Its
// error wraps messages.ErrInvalid and names every fault.
func ParseAll(text string) ([]URL, error) {
	texts := strings.Fields(text)
	if len(texts) == 0 {
		return nil, fmt.Errorf("url %q: %w: there is none", text, messages.ErrInvalid)
	}
	urls := make([]URL, 0, len(texts))
	var faults []error
	for i, s := range texts {
		u, err := Parse(s)
		switch {
		case err != nil:
		case slices.Contains(texts[:i], s):
			err = fmt.Errorf("url %q is given twice: %w", s, messages.ErrInvalid)
		case u.Proxied:
			err = fmt.Errorf("url %q: via is for urls that are dialled: %w", s, messages.ErrInvalid)
		case slices.ContainsFunc(urls, u.collides):
			err = fmt.Errorf("url %q: its port is that of another url, and one port serves one url, with one path: %w", s, messages.ErrInvalid)
		}
		urls, faults = append(urls, u), append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return urls, nil
}

// collides reports whether u and v ask for one and the same port.
func (u URL) collides(v URL) bool {
	one := func(u URL) bool { return u.Network() && u.PortLow != 0 && u.PortLow == u.PortHigh }
	return one(u) && one(v) && u.Host == v.Host && u.PortLow == v.PortLow
}

func supported() string { return strings.Join(slices.Sorted(maps.Keys(schemes)), ", ") }

func splitHostPort(s string) (host, port string, err error) {
	host, port, err = net.SplitHostPort(s)
	if err != nil {
		var addr *net.AddrError
		if errors.As(err, &addr) {
			return "", "", errors.New(addr.Err)
		}
		return "", "", err
	}
	return host, port, nil
}

func parsePorts(s string) (low, high int, err error) {
	from, to, isRange := strings.Cut(s, "-")
	if low, err = parsePort(from); err != nil {
		return 0, 0, fmt.Errorf("port %q: %w", s, err)
	}
	high = low
	if isRange {
		if high, err = parsePort(to); err != nil {
			return 0, 0, fmt.Errorf("port %q: %w", s, err)
		}
		if low == 0 {
			return 0, 0, fmt.Errorf("port %q: a range cannot start at 0", s)
		}
	}
	return low, high, checkPorts(low, high)
}

func parsePort(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, errors.New("not a number from 0 to 65535")
	}
	return int(n), nil
}

func checkPorts(low, high int) error {
	switch {
	case low < 0 || high > 65535:
		return fmt.Errorf("port %d-%d: outside 0 to 65535", low, high)
	case low > high:
		return fmt.Errorf("port %d-%d: runs backwards", low, high)
	case low == 0 && high != 0:
		return fmt.Errorf("port %d-%d: a range cannot start at 0", low, high)
	}
	return nil
}

func parseQuery(query string) (advertise string, err error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return "", fmt.Errorf("query %q: %w", query, err)
	}
	for name, v := range values {
		if name != "advertise" {
			return "", fmt.Errorf("query: option %q is not one of advertise", name)
		}
		if len(v) != 1 {
			return "", errors.New("query: advertise is given twice")
		}
		advertise = v[0]
	}
	if advertise == "" {
		return "", errors.New("query: advertise is empty; if a shell was to put a variable's value there, the variable is not set")
	}
	return advertise, checkAdvertise(advertise)
}

// checkHost takes an IP address or anything that can be a host name.
func checkHost(host string) error {
	if ip, err := netip.ParseAddr(host); err == nil {
		if strings.ContainsFunc(ip.Zone(), func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("host %q: its zone is not a name", host)
		}
		return nil
	}
	if len(host) > 253 {
		return errors.New("host is longer than 253 characters")
	}
	if host == "" || host[0] == '-' || host[0] == '.' || strings.Contains(host, "..") {
		return fmt.Errorf("host %q is neither an address nor a name", host)
	}
	for i := range len(host) {
		c := host[i]
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return fmt.Errorf("host %q: %q cannot be in a name", host, c)
		}
	}
	return nil
}

func everyInterface(host string) bool {
	if host == "" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsUnspecified()
}
