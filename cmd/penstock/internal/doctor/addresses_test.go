package doctor

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/transport/address"
)

// Promise: doctor says which address a sender here advertises and why, and warns where
// others cannot dial it.
func TestDoctorOnAddresses(t *testing.T) {
	chosen := func(c address.Choice) func(string) []address.Choice {
		return func(string) []address.Choice { return []address.Choice{c} }
	}
	ip := netip.MustParseAddr
	routed := chosen(address.Choice{Addr: ip("10.0.0.5"), Interface: "eth0", Why: "the default route"})
	t.Setenv("PENSTOCK_TEST_POD_IP", "10.0.0.5")
	for _, c := range []struct {
		listen  string
		choices func(string) []address.Choice
		want    verdict
		says    string
	}{
		{"tcp://:0", routed, verdictOK, "10.0.0.5 of eth0: the default route"},
		{"tcp://:0", chosen(address.Choice{Addr: ip("127.0.0.1"), Why: "w", Doubtful: true}), verdictWarn, "nobody on another machine"},
		{"tcp://:0", chosen(address.Choice{Addr: ip("172.17.0.1"), Interface: "docker0", Why: "w", Doubtful: true}), verdictWarn, "may be unable"},
		{"tcp://10.0.0.5:7000", nil, verdictOK, "10.0.0.5"},
		{"tcp://10.0.0.6:7000", nil, verdictFail, "no address of this machine"},
		{"tcp://127.0.0.1:0", nil, verdictWarn, "nobody on another machine"},
		{"tcp://:7000?advertise=203.0.113.7:17000", nil, verdictWarn, "forwarded"},
		{"tcp://:7000?advertise=$PENSTOCK_TEST_POD_IP", nil, verdictOK, "the environment variable"},
		{"tcp://:7000?advertise=$PENSTOCK_NOT_SET", nil, verdictFail, "PENSTOCK_NOT_SET is not set"},
		{"tcp://:7000?advertise=here.example", nil, verdictOK, "it is 10.0.0.5"},
		{"tcp://:7000?advertise=local.example", nil, verdictWarn, "nobody on another machine"},
		{"tcp://:7000?advertise=unknown.example", nil, verdictFail, "unknown.example, which cannot be looked up"},
		{"tcp://:7000?advertise=slow.example", nil, verdictWarn, "DNS"},
		{"tcp://:7000?advertise=:", nil, verdictFail, "correct --listen"},
	} {
		var d diagnosis
		d.addresses(t.Context(), c.listen, network{
			choices: c.choices,
			own:     func() []netip.Addr { return []netip.Addr{ip("127.0.0.1"), ip("10.0.0.5")} },
			lookup: func(_ context.Context, name string) ([]string, error) {
				switch name {
				case "here.example":
					return []string{"10.0.0.5"}, nil
				case "local.example":
					return []string{"127.0.0.1", "::1"}, nil
				case "unknown.example":
					return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
				}
				return nil, errors.New("timeout")
			},
		})
		if len(d.checks) != 1 || d.checks[0].Status != c.want || !strings.Contains(d.checks[0].Found+"; "+d.checks[0].Do, c.says) {
			t.Errorf("%s: %+v, want %s, %q", c.listen, d.checks, c.want, c.says)
		}
	}
}
