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
		"tcp://:7000":                 {Scheme: "tcp", PortLow: 7000, PortHigh: 7000},
		"tcp://*:7000":                {Scheme: "tcp", PortLow: 7000, PortHigh: 7000},
		"tcp://[::1]:7000-7010":       {Scheme: "tcp", Host: "::1", PortLow: 7000, PortHigh: 7010},
		"tcp://[fe80::1%eth0]:1":      {Scheme: "tcp", Host: "fe80::1%eth0", PortLow: 1, PortHigh: 1},
		"tcp://my_host.example:65535": {Scheme: "tcp", Host: "my_host.example", PortLow: 65535, PortHigh: 65535},
		"tcp://0.0.0.0:7000-7010?advertise=orders.example.com": {Scheme: "tcp", Host: "0.0.0.0", PortLow: 7000, PortHigh: 7010, Advertise: "orders.example.com"},
		"tcp://:1?advertise=10.0.0.1:99":                       {Scheme: "tcp", PortLow: 1, PortHigh: 1, Advertise: "10.0.0.1:99"},
		"tcp://:1?advertise=2001:db8::1":                       {Scheme: "tcp", PortLow: 1, PortHigh: 1, Advertise: "2001:db8::1"},
		"tcp://:1?advertise=[2001:db8::1]:9":                   {Scheme: "tcp", PortLow: 1, PortHigh: 1, Advertise: "[2001:db8::1]:9"},
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
		"":                                  "scheme",
		"127.0.0.1:7000":                    "scheme",
		"udp://127.0.0.1:7000":              `scheme "udp" is not one of tcp, tls+tcp`,
		"tls://127.0.0.1:7000":              "scheme",
		"tls+tcp://h:1/path":                "'/'",
		"tcp://127.0.0.1":                   "missing port",
		"tcp://127.0.0.1:":                  "port",
		"tcp://127.0.0.1:http":              "port",
		"tcp://127.0.0.1:65536":             "port",
		"tcp://127.0.0.1:-1":                "port",
		"tcp://127.0.0.1:7010-7000":         "backwards",
		"tcp://127.0.0.1:0-10":              "start at 0",
		"tcp://127.0.0.1:1-":                "port",
		"tcp://h:1/path":                    "'/'",
		"tcp://user@h:1":                    "'@'",
		"tcp://h:1#x":                       "'#'",
		"tcp://::1:7000":                    "too many colons",
		"tcp://-h:1":                        "host",
		"tcp://h h:1":                       "host",
		"tcp://h..x:1":                      "host",
		"tcp://h:1?":                        "advertise is empty",
		"tcp://h:1?advertise=":              "advertise is empty",
		"tcp://h:1?advertise=a&advertise=b": "twice",
		"tcp://h:1?advertize=a":             "advertize",
		"tcp://h:1?advertise=0.0.0.0":       "nobody can dial",
		"tcp://h:1?advertise=a:0":           "port",
		"tcp://h:1?advertise=a:":            "port",
		"tcp://h:1?advertise=a/b":           "'/'",
		"tcp://h:1?advertise=%zz":           "query",
	} {
		got, err := Parse(text)
		if !errors.Is(err, messages.ErrInvalid) || !strings.Contains(err.Error(), part) {
			t.Errorf("Parse(%q) = %+v, %v; want ErrInvalid about %q", text, got, err, part)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"tcp://127.0.0.1:0", "tcp://[::]:1-2?advertise=a:1", "tcp://*:7?advertise=%5B::1%5D:2", "tls+tcp://:0?advertise=a", "x://"} {
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
		"tcp://:0?advertise=2001:db8::1":        "tcp://[2001:db8::1]:4711",
		"tcp://:0?advertise=%5B2001:db8::1]:80": "tcp://[2001:db8::1]:80",
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
