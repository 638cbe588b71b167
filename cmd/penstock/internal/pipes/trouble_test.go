package pipes

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
)

// Who has no certificates, or wrong ones, hears why nothing comes.
func TestLinkTrouble(t *testing.T) {
	insecure := fmt.Errorf("the sender offers encrypted links only: %w", penstock.ErrInsecure)
	twoURLs := errors.Join(errors.New("dial one: TLS"), errors.New("dial two: TLS"))
	for name, c := range map[string]struct {
		e    penstock.Event
		want string
	}{
		"no certificates":    {messages.LinkDelayed{Destination: "orders", Err: insecure, Attempt: 1}, "--link-cert"},
		"wrong token":        {messages.LinkDelayed{Destination: "orders", Err: penstock.ErrDenied, Attempt: 1}, penstock.ErrDenied.Error()},
		"wrong certificate":  {messages.LinkDelayed{Destination: "orders", Err: twoURLs, Attempt: dialsUntilTrouble}, "dial one: TLS; dial two: TLS"},
		"for a moment":       {messages.LinkDelayed{Destination: "orders", Err: twoURLs, Attempt: 1}, ""},
		"another":            {messages.LinkDelayed{Destination: "invoices", Err: insecure, Attempt: 1}, ""},
		"a stranger":         {messages.ConnectionRefused{Remote: "192.0.2.1:7", Reason: "tls", Count: 1}, "192.0.2.1:7"},
		"a listener's end":   {messages.ConnectionRefused{Remote: "192.0.2.1:7", Reason: "closing", Count: 1}, ""},
		"no trouble of ours": {messages.SessionLost{}, ""},
	} {
		got := linkTrouble("orders")(c.e)
		if (got.What != "") != (c.want != "") || !strings.Contains(got.Text, c.want) {
			t.Errorf("%s: %+v, want %q in it", name, got, c.want)
		}
	}
}
