package address

// URLs of WebSocket: as those of tcp, with a path, and with proxies that say another
// URL to the world.

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// longestPath is what a path has at most.
const longestPath = 1024

// byProxy is the option of an advertised URL at whose end a proxy is.
const byProxy = "proxy"

// parseWebSocket takes apart host:port/path?options.
func parseWebSocket(name, rest string) (URL, error) {
	rest, query, hasQuery := strings.Cut(rest, "?")
	at, path, _ := strings.Cut(rest, "/")
	u, err := parseBind(name, at)
	if err == nil {
		u.Path = "/" + path
		err = checkPath(u.Path)
	}
	if err == nil && hasQuery {
		err = u.parseOptions(query)
	}
	if err != nil {
		return URL{}, err
	}
	return u, checkBind(u)
}

// parseOptions takes apart the query.
func (u *URL) parseOptions(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("query %q: %w", query, err)
	}
	for name, v := range values {
		switch {
		case name != "advertise" && name != "via":
			return fmt.Errorf("query: option %q is not one of advertise, via", name)
		case len(v) != 1:
			return fmt.Errorf("query: %s is given twice", name)
		case v[0] == "":
			return fmt.Errorf("query: %s is empty", name)
		case name == "via" && v[0] != byProxy:
			return fmt.Errorf("query: via is %q, and can be %s only", v[0], byProxy)
		case name == "via":
			u.Proxied = true
		default:
			u.Advertise = v[0]
		}
	}
	return u.checkOptions()
}

func (u URL) checkOptions() error {
	switch {
	case u.Proxied && u.Scheme != WSS:
		return fmt.Errorf("query: via is for %s urls", WSS)
	case u.Proxied && u.Advertise != "":
		return errors.New("query: via is for urls that are dialled, and advertise for listeners")
	case u.Advertise == "":
		return nil
	case !u.fronted():
		return checkAdvertise(u.Advertise)
	}
	_, err := u.front()
	return err
}

func checkWebSocket(u URL) error {
	return errors.Join(append(checkBound(u), checkPath(cmp.Or(u.Path, "/")), u.checkOptions())...)
}

// checkPath takes what needs no escapes: a proxy may write those in another way.
func checkPath(path string) error {
	if path[0] != '/' {
		return fmt.Errorf("path %q does not begin with /", path)
	}
	if len(path) > longestPath {
		return fmt.Errorf("path is longer than %d characters", longestPath)
	}
	for i := range len(path) {
		c := path[i]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && strings.IndexByte("/-._~!$&'()*+,;=:@", c) < 0 {
			return fmt.Errorf("path %q: %q has no meaning there", path, c)
		}
	}
	return nil
}

func webSocketText(u URL) string {
	at := u
	at.Advertise = ""
	text := networkText(at) + cmp.Or(u.Path, "/")
	switch {
	case u.Advertise != "":
		text += "?advertise=" + plainly.Replace(url.QueryEscape(u.Advertise))
	case u.Proxied:
		text += "?via=" + byProxy
	}
	return text
}

// fronted reports whether advertise is the URL of a proxy.
func (u URL) fronted() bool { return strings.Contains(u.Advertise, "://") }

// front is the URL of the proxy in front of a listener, where advertise is one. TLS ends
// there: who dials it meets the proxy's certificate.
func (u URL) front() (URL, error) {
	name, rest, _ := strings.Cut(u.Advertise, "://")
	fault := func(err error) (URL, error) { return URL{}, fmt.Errorf("advertise %q: %w", u.Advertise, err) }
	usual, ok := usualPorts[name]
	switch {
	case !ok:
		return fault(fmt.Errorf("a proxy's url begins with %s:// or %s://", WS, WSS))
	case name == WS && u.Scheme == WSS:
		return fault(fmt.Errorf("a %s listener cannot be dialled as %s", WSS, WS))
	case strings.Contains(rest, "?"):
		return fault(errors.New("a proxy's url has no options"))
	}
	at, path, _ := strings.Cut(rest, "/")
	if strings.LastIndexByte(at, ':') <= strings.LastIndexByte(at, ']') { // no port, which may be left out
		at += ":" + strconv.Itoa(usual)
	}
	f, err := parseWebSocket(name, at+"/"+path)
	if err != nil {
		return fault(err)
	}
	if _, err := dialNetwork(f); err != nil {
		return fault(err)
	}
	f.Proxied = name == WSS
	return f, nil
}

// usualPorts are those that a proxy's URL may leave out.
var usualPorts = map[string]int{WS: 80, WSS: 443}

// HostHeader is what a request to u names as its host.
func (u URL) HostHeader() string {
	at := networkText(URL{Host: u.Host, PortLow: u.PortLow, PortHigh: u.PortHigh})
	return strings.TrimSuffix(at, ":"+strconv.Itoa(usualPorts[u.Scheme]))
}

// Behind is u without the proxy that advertise names: this machine's own address.
func (u URL) Behind() URL {
	if u.fronted() {
		u.Advertise = ""
	}
	return u
}
