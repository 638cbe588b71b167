package address

import (
	"errors"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/messages"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]URL{
		"tcp://127.0.0.1:0": {Scheme: "tcp", Host: "127.0.0.1"},
		"tls+tcp://:7000-7001?advertise=orders.example.com": {Scheme: "tls+tcp", PortLow: 7000, PortHigh: 7001, Advertise: "orders.example.com"},
		"tcp://:7000":           {Scheme: "tcp", PortLow: 7000, PortHigh: 7000},
		"tcp://*:7000":          {Scheme: "tcp", PortLow: 7000, PortHigh: 7000},
		"tcp://[::1]:7000-7010": {Scheme: "tcp", Host: "::1", PortLow: 7000, PortHigh: 7010},
		"tcp://[fe80::1%eth0]:1?advertise=a.example":           {Scheme: "tcp", Host: "fe80::1%eth0", PortLow: 1, PortHigh: 1, Advertise: "a.example"},
		"tcp://my_host.example:65535":                          {Scheme: "tcp", Host: "my_host.example", PortLow: 65535, PortHigh: 65535},
		"tcp://0.0.0.0:7000-7010?advertise=orders.example.com": {Scheme: "tcp", Host: "0.0.0.0", PortLow: 7000, PortHigh: 7010, Advertise: "orders.example.com"},
		"tcp://:1?advertise=10.0.0.1:99":                       {Scheme: "tcp", PortLow: 1, PortHigh: 1, Advertise: "10.0.0.1:99"},
		"tcp://:1?advertise=2001:db8::1":                       {Scheme: "tcp", PortLow: 1, PortHigh: 1, Advertise: "2001:db8::1"},
		"ws://:8080":                                           {Scheme: "ws", PortLow: 8080, PortHigh: 8080, Path: "/"},
		"ws://127.0.0.1:0/penstock/orders":                     {Scheme: "ws", Host: "127.0.0.1", Path: "/penstock/orders"},
		"ws://:0/a?advertise=orders.example":                   {Scheme: "ws", Path: "/a", Advertise: "orders.example"},
		"ws://:1-2/a?advertise=wss://x.example/b":              {Scheme: "ws", PortLow: 1, PortHigh: 2, Path: "/a", Advertise: "wss://x.example/b"},
		"wss://[::1]:443/?advertise=wss://[::2]":               {Scheme: "wss", Host: "::1", PortLow: 443, PortHigh: 443, Path: "/", Advertise: "wss://[::2]"},
		"wss://x.example:443/a?via=proxy":                      {Scheme: "wss", Host: "x.example", PortLow: 443, PortHigh: 443, Path: "/a", Proxied: true},
		"tcp://:1?advertise=[2001:db8::1]:9":                   {Scheme: "tcp", PortLow: 1, PortHigh: 1, Advertise: "[2001:db8::1]:9"},
		"tcp://:1?advertise=10.0.0.1,[2001:db8::1]:9":          {Scheme: "tcp", PortLow: 1, PortHigh: 1, Advertise: "10.0.0.1,[2001:db8::1]:9"},
		"tcp://:1?advertise=$POD_IP":                           {Scheme: "tcp", PortLow: 1, PortHigh: 1, Advertise: "$POD_IP"},
		"tcp://:1?advertise=${POD_IP}:9":                       {Scheme: "tcp", PortLow: 1, PortHigh: 1, Advertise: "${POD_IP}:9"},
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", text, got, err, want)
			continue
		}
		if err := got.Check(); err != nil {
			t.Errorf("%q: check: %v", text, err)
		}
		if again, err := Parse(got.String()); err != nil || again != got {
			t.Errorf("%q: through String %q: %+v, %v", text, got, again, err)
		}
	}
}

func TestParseNamesTheFault(t *testing.T) {
	for text, part := range map[string]string{
		"":                                     "scheme",
		"127.0.0.1:7000":                       "scheme",
		"udp://127.0.0.1:7000":                 `scheme "udp" is not one of inproc, ipc, tcp, tls+tcp, ws, wss`,
		"tls://127.0.0.1:7000":                 "scheme",
		"tls+tcp://h:1/path":                   "'/'",
		"tcp://127.0.0.1":                      "missing port",
		"tcp://127.0.0.1:":                     "port",
		"tcp://127.0.0.1:http":                 "port",
		"tcp://127.0.0.1:65536":                "port",
		"tcp://127.0.0.1:-1":                   "port",
		"tcp://127.0.0.1:7010-7000":            "backwards",
		"tcp://127.0.0.1:0-10":                 "start at 0",
		"tcp://127.0.0.1:1-":                   "port",
		"tcp://h:1/path":                       "'/'",
		"tcp://user@h:1":                       "'@'",
		"tcp://h:1#x":                          "'#'",
		"tcp://::1:7000":                       "too many colons",
		"tcp://-h:1":                           "host",
		"tcp://h h:1":                          "host",
		"tcp://h..x:1":                         "host",
		"tcp://h:1?":                           "advertise is empty",
		"tcp://h:1?advertise=":                 "advertise is empty",
		"tcp://h:1?advertise=a&advertise=b":    "twice",
		"tcp://h:1?advertize=a":                "advertize",
		"tcp://h:1?advertise=0.0.0.0":          "nobody can dial",
		"tcp://h:1?advertise=a:0":              "port",
		"tcp://h:1?advertise=a:":               "port",
		"tcp://h:1?advertise=a/b":              "'/'",
		"tcp://h:1?advertise=a,":               "a host is missing",
		"tcp://h:1?advertise=a,a":              "given twice",
		"tcp://h:1?advertise=a,$B":             "'$'",
		"tcp://h:1?advertise=$":                "name of an environment variable is missing",
		"tcp://h:1?advertise=$1P":              `"1P" is not the name`,
		"tcp://h:1?advertise=${POD_IP":         "is not the name",
		"tcp://h:1?advertise=$POD_IP:0":        "port",
		"tcp://h:1?advertise=$POD_IP:":         "port",
		"tcp://h:1?advertise=$A,$B":            "is not the name",
		"tcp://h:1?advertise=[10.0.0.1]":       "not an IPv6 address",
		"tcp://h:1?advertise=fe80::1":          "one link",
		"tcp://h:1?advertise=fd00::1%25eth":    "one link",
		"tcp://[fe80::1%eth0]:1":               "?advertise=",
		"tcp://h:1?advertise=%zz":              "query",
		"tcp://:1?advertise=tcp://x.example:1": "advertise",
		"ws://h":                               "missing port",
		"ws://h:1/a b":                         "' '",
		"ws://h:1/a%20b":                       "'%'",
		"ws://h:1/a#b":                         "'#'",
		"ws://u@h:1/a":                         "'@'",
		"ws://h:1/a?advertize=x":               "advertize",
		"ws://h:1/a?advertise=":                "advertise is empty",
		"ws://h:1/a?advertise=0.0.0.0":         "nobody can dial",
		"ws://h:1/a?advertise=tcp://x:1":       "begins with ws:// or wss://",
		"ws://h:1/a?advertise=wss://":          "cannot be dialled",
		"ws://h:1/a?advertise=wss://x:0/a":     "cannot be dialled",
		"ws://h:1/a?advertise=wss://x/a?b":     "no options",
		"wss://h:1/a?advertise=ws://x/a":       "cannot be dialled as ws",
		"ws://h:1/a?via=proxy":                 "via is for wss",
		"wss://h:1/a?via=nginx":                "via is",
		"wss://h:1/a?via=proxy&advertise=x":    "for listeners",
	} {
		got, err := Parse(text)
		if !errors.Is(err, messages.ErrInvalid) || !strings.Contains(err.Error(), part) {
			t.Errorf("Parse(%q) = %+v, %v; want ErrInvalid about %q", text, got, err, part)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"tcp://127.0.0.1:0", "tcp://[::]:1-2?advertise=a:1", "tcp://*:7?advertise=%5B::1%5D:2", "tls+tcp://:0?advertise=a", "tcp://:0?advertise=$A:7", "tcp://:0?advertise=a,[::1]:7", "x://", "ipc:///a%20b?mode=0660&owner=a&advertise=/b", "ipc:////a/../b", "inproc://a.b-c",
		"ws://:0/a?advertise=wss://x.example/b", "wss://[::1]:1/?via=proxy", "wss://:1-2?advertise=a:3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := Parse(s)
		if err != nil {
			if !errors.Is(err, messages.ErrInvalid) {
				t.Fatalf("%v does not wrap ErrInvalid", err)
			}
			return
		}
		if err := u.Check(); err != nil {
			t.Fatalf("%+v was parsed and does not check: %v", u, err)
		}
		if again, err := Parse(u.String()); err != nil || again != u {
			t.Fatalf("%+v through %q is %+v, %v", u, u, again, err)
		}
		if _, _, isVariable := variable(u.Advertise); isVariable {
			return
		}
		// What a listener advertises must be what a member can dial.
		for _, a := range u.Advertised("7000", func(string) []string { return []string{"10.1.2.3", "fd00::6"} }) {
			if _, _, err := Dial(a); err != nil {
				t.Fatalf("%+v advertises what cannot be dialled: %v", u, err)
			}
		}
	})
}

func TestAdvertised(t *testing.T) {
	here := machine{nics: []nic{{up: true, addrs: addrs("10.0.0.4", "fd00::6")}}}
	for text, want := range map[string]string{
		"tcp://127.0.0.1:0":                     "tcp://127.0.0.1:4711",
		"tcp://[::1]:0":                         "tcp://[::1]:4711",
		"tcp://name:0":                          "tcp://name:4711",
		"tls+tcp://:0":                          "tls+tcp://10.0.0.4:4711 tls+tcp://[fd00::6]:4711",
		"tcp://0.0.0.0:0":                       "tcp://10.0.0.4:4711",
		"tcp://[::]:0":                          "tcp://10.0.0.4:4711 tcp://[fd00::6]:4711",
		"tcp://:0":                              "tcp://10.0.0.4:4711 tcp://[fd00::6]:4711",
		"tcp://:0?advertise=a.example":          "tcp://a.example:4711",
		"tcp://:0?advertise=a.example:80":       "tcp://a.example:80",
		"tcp://:0?advertise=10.0.0.1,[fd00::1]": "tcp://10.0.0.1:4711 tcp://[fd00::1]:4711",
		"tcp://:0?advertise=2001:db8::1":        "tcp://[2001:db8::1]:4711",
		"tcp://:0?advertise=%5B2001:db8::1]:80": "tcp://[2001:db8::1]:80",
		"ws://:0/a":                             "ws://10.0.0.4:4711/a ws://[fd00::6]:4711/a",
		"wss://:0?advertise=a.example:80":       "wss://a.example:80/",
		"ws://:0/a?advertise=wss://a.example/b": "wss://a.example:443/b?via=proxy",
		"ws://:0/a?advertise=ws://a.example":    "ws://a.example:80/",
		"wss://:0?advertise=wss://[::1]:81/b":   "wss://[::1]:81/b?via=proxy",
	} {
		u, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(u.Advertised("4711", here.hosts), " "); got != want {
			t.Errorf("%s advertises %s, want %s", text, got, want)
		}
	}
}

// Promise: several addresses of one listener are told apart, and every fault is named.
func TestParseAll(t *testing.T) {
	urls, err := ParseAll(" tcp://:1  tls+tcp://:2\n")
	if err != nil || len(urls) != 2 || urls[0].Encrypted() || !urls[1].Encrypted() || !urls[1].Network() {
		t.Errorf("%v, %v", urls, err)
	}
	for text, parts := range map[string][]string{
		"": {"none"}, "tcp://:1 tcp://:1": {"twice"}, "x://a tcp://:y": {`"x"`, `"y"`},
	} {
		_, err := ParseAll(text)
		for _, part := range parts {
			if !errors.Is(err, messages.ErrInvalid) || !strings.Contains(err.Error(), part) {
				t.Errorf("%q: %v, want %s", text, err, part)
			}
		}
	}
}

// Promise: an address comes from the environment as it is written there by hand, by the
// downward API of Kubernetes, or for both families; what is not there or is no address is
// an error that names the variable.
func TestListening(t *testing.T) {
	env := map[string]string{
		"POD_IP": "10.0.0.5", "POD_IP6": "fd00::5", "BRACKETS": "[fd00::5]", "POD_IPS": "10.0.0.5,fd00::5", "SPACES": " 10.0.0.5, fd00::5\n",
		"FORWARDED": "203.0.113.7:17000", "EMPTY": " ", "EVERY": "::", "ZONE": "fe80::1%eth0", "AGAIN": "$POD_IP", "PATH": "/usr/bin", "COMMA": ",",
	}
	lookup := func(name string) (string, bool) { v, ok := env[name]; return v, ok }
	for advertise, want := range map[string]string{
		"$POD_IP":         "tcp://10.0.0.5:4711",
		"${POD_IP}":       "tcp://10.0.0.5:4711",
		"$POD_IP:80":      "tcp://10.0.0.5:80",
		"$POD_IP6":        "tcp://[fd00::5]:4711",
		"$POD_IP6:80":     "tcp://[fd00::5]:80",
		"$BRACKETS":       "tcp://[fd00::5]:4711",
		"${BRACKETS}:80":  "tcp://[fd00::5]:80",
		"$POD_IPS":        "tcp://10.0.0.5:4711 tcp://[fd00::5]:4711",
		"$POD_IPS:80":     "tcp://10.0.0.5:80 tcp://[fd00::5]:80",
		"$SPACES":         "tcp://10.0.0.5:4711 tcp://[fd00::5]:4711",
		"$FORWARDED":      "tcp://203.0.113.7:17000",
		"orders.example":  "tcp://orders.example:4711",
		"orders.example:": "",
	} {
		urls, err := listening("tcp://:0?advertise="+advertise, lookup)
		if want == "" {
			if !errors.Is(err, messages.ErrInvalid) {
				t.Errorf("%s: %v, %v", advertise, urls, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", advertise, err)
			continue
		}
		advertised := urls[0].Advertised("4711", nil)
		if got := strings.Join(advertised, " "); got != want {
			t.Errorf("%s advertises %s, want %s", advertise, got, want)
		}
		for _, a := range advertised {
			if _, _, err := Dial(a); err != nil {
				t.Errorf("%s advertises what cannot be dialled: %v", advertise, err)
			}
		}
		if again, err := Parse(urls[0].String()); err != nil || again != urls[0] {
			t.Errorf("%s: %q is parsed as %+v, %v", advertise, urls[0], again, err)
		}
	}
	for advertise, says := range map[string]string{
		"$MISSING": "MISSING is not set", "$EMPTY": "EMPTY is empty", "$EVERY": "variable EVERY: \"::\": nobody can dial", "$ZONE": "variable ZONE",
		"$AGAIN": "variable AGAIN is \"$POD_IP\"", "$PATH": "variable PATH", "$COMMA": "variable COMMA", "$FORWARDED:1": "gives it another",
	} {
		_, err := listening("tcp://:0?advertise="+advertise, lookup)
		if !errors.Is(err, messages.ErrInvalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", advertise, err, says)
		}
	}
	if _, err := listening("tcp://:1?advertise=$ONE tcp://:2?advertise=$TWO", lookup); err == nil || !strings.Contains(err.Error(), "ONE is not set") || !strings.Contains(err.Error(), "TWO is not set") {
		t.Errorf("not every variable is named: %v", err)
	}
	t.Setenv("PENSTOCK_TEST_ADVERTISE", "10.0.0.5")
	if urls, err := Listening("tcp://:0?advertise=$PENSTOCK_TEST_ADVERTISE"); err != nil || urls[0].Advertise != "10.0.0.5" {
		t.Errorf("%v, %v", urls, err)
	}
}
