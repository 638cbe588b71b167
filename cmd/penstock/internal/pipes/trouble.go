package pipes

// Why there is no link, said while there is none.

import (
	"errors"
	"fmt"
	"strings"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages"
)

// dialsUntilTrouble is how many dials in vain are a trouble, about two seconds of them: a
// sender that starts or ends is unreachable for a moment.
const dialsUntilTrouble = 6

// linkTrouble returns what keeps members of dest and its senders from having links.
func linkTrouble(dest string) func(penstock.Event) cli.Trouble {
	return func(e penstock.Event) cli.Trouble {
		switch e := e.(type) {
		case messages.LinkDelayed:
			hopeless := errors.Is(e.Err, penstock.ErrInsecure) || errors.Is(e.Err, penstock.ErrDenied)
			if e.Destination != dest || !hopeless && e.Attempt < dialsUntilTrouble {
				return cli.Trouble{}
			}
			return cli.Trouble{What: "waiting for a link to sender " + e.Sender, Text: linkWhy(e.Err)}
		case messages.ConnectionRefused:
			if e.Reason != "closing" {
				return cli.Trouble{What: fmt.Sprintf("refused a connection (%s)", e.Reason), Text: "from " + e.Remote}
			}
		}
		return cli.Trouble{}
	}
}

// linkWhy is why there is no link, on one line, and which flags would help.
func linkWhy(err error) string {
	why := strings.ReplaceAll(err.Error(), "\n", "; ")
	if errors.Is(err, penstock.ErrInsecure) {
		why += " (LinkTLS is --link-cacert, --link-cert and --link-key here)"
	}
	return why
}
