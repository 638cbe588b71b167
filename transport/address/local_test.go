package address

import (
	"errors"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/messages"
)

func TestParseLocal(t *testing.T) {
	for text, want := range map[string]URL{
		"ipc:///run/orders.sock":                           {Scheme: IPC, File: "/run/orders.sock"},
		"inproc://Orders_1.a-b":                            {Scheme: InProc, Host: "Orders_1.a-b"},
		"ipc:////run//orders.sock":                         {Scheme: IPC, File: "/run/orders.sock"},
		"ipc:///run/a%20b%3Fc.sock":                        {Scheme: IPC, File: "/run/a b?c.sock"},
		"ipc:///run/o.sock?mode=0660&owner=app&group=1000": {Scheme: IPC, File: "/run/o.sock", Mode: 0o660, Owner: "app", Group: "1000"},
		"ipc:///run/o.sock?mode=666":                       {Scheme: IPC, File: "/run/o.sock", Mode: 0o666},
		"ipc:///run/o.sock?advertise=/shared/o.sock":       {Scheme: IPC, File: "/run/o.sock", Advertise: "/shared/o.sock"},
		"ipc:///" + strings.Repeat("x", longestFile()-1):   {Scheme: IPC, File: "/" + strings.Repeat("x", longestFile()-1)},
	} {
		got, err := Parse(text)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", text, got, err, want)
			continue
		}
		if again, err := Parse(got.String()); err != nil || again != got || got.Network() || got.Encrypted() {
			t.Errorf("%q: through String %q: %+v, %v", text, got, again, err)
		}
	}
}

func TestParseLocalNamesTheFault(t *testing.T) {
	for text, part := range map[string]string{
		"ipc://run/orders.sock":                "three slashes",
		"ipc://":                               "three slashes",
		"ipc:///":                              "names no file",
		"ipc:///a%00b":                         "zero byte",
		"ipc:///a%zz":                          "path",
		"ipc:///" + strings.Repeat("x", 107):   "takes 1",
		"ipc:///a?":                            "empty",
		"ipc:///a?mode=":                       "mode is empty",
		"ipc:///a?mode=rw":                     "octal",
		"ipc:///a?mode=0":                      "0001",
		"ipc:///a?mode=1777":                   "0777",
		"ipc:///a?mode=600&mode=660":           "twice",
		"ipc:///a?owner=a/b":                   "owner",
		"ipc:///a?group=a%20b":                 "group",
		"ipc:///a?advertise=b":                 "absolute",
		"inproc://":                            "no name",
		"inproc://a:1":                         "':'",
		"inproc://a?b":                         "'?'",
		"inproc://" + strings.Repeat("x", 254): "longer",
		"ipc:///a?user=b":                      `"user" is not one of advertise, group, mode, owner`,
	} {
		got, err := Parse(text)
		if !errors.Is(err, messages.ErrInvalid) || !strings.Contains(err.Error(), part) {
			t.Errorf("Parse(%q) = %+v, %v; want ErrInvalid about %q", text, got, err, part)
		}
	}
	for _, u := range []URL{{Scheme: IPC, File: "/a/../b"}, {Scheme: IPC, File: "/a", Mode: 0o1777}, {Scheme: IPC, File: "/a", Advertise: "b"}, {Scheme: IPC, File: "/a", Owner: "a b"}} {
		if u.Check() == nil {
			t.Errorf("%+v is taken", u)
		}
	}
}

func TestAdvertisedLocal(t *testing.T) {
	for text, want := range map[string]string{
		"inproc://a":                                     "inproc://a",
		"ipc:///run/o.sock?mode=0660&owner=app":          "ipc:///run/o.sock",
		"ipc:///run/o.sock?mode=0660&advertise=/sh%20/o": "ipc:///sh%20/o",
	} {
		u, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		got := u.Advertised("0", nil)
		if len(got) != 1 || got[0] != want {
			t.Errorf("%s advertises %s, want %s", text, got, want)
		}
		if _, _, err := Dial(got[0]); err != nil {
			t.Error(err)
		}
		if _, _, err := Dial(text); text != want && !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%s was dialled: %v", text, err)
		}
	}
	if !ThisMachineOnly([]string{"ipc:///a", "tcp://127.0.0.1:1"}) || ThisMachineOnly([]string{"ipc:///a", "tcp://10.0.0.1:1"}) {
		t.Error("who can dial is mixed up")
	}
}
