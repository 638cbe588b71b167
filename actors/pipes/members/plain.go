package members

// The stock nanomsg peers that a member dials, and how its links are dialled again.

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/plain"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
	"github.com/penstock-io/penstock/transport/nanomsg"
)

// memberPolicy: a sender that cannot be reached is dialled again without end; a
// group of another mode cannot be joined; bugs get a small budget.
func memberPolicy() supervisor.Policy {
	dialling := supervisor.Backoff{Min: 50 * time.Millisecond, Max: 2 * time.Second, Factor: 2, Jitter: 0.5, Healthy: 10 * time.Second}
	panicked := supervisor.ForType[*supervisor.PanicError]()
	return supervisor.Policy{
		Rules: []supervisor.Rule{
			{If: supervisor.ForError(messages.ErrGroupMode), Then: supervisor.Terminate},
			{If: func(err error) bool { return !panicked(err) }, Then: supervisor.Restart, Backoff: &dialling, Budget: &supervisor.Budget{}},
		},
		Default: supervisor.Restart,
		Backoff: supervisor.DefaultBackoff(),
		Budget:  supervisor.DefaultPolicy().Budget,
	}
}

// checkPlain adds what is wrong with the plain URLs of c.
func (c *Config) checkPlain(faults *node.Faults) {
	for i, url := range c.PlainURLs {
		faults.Join(nanomsg.Check(url))
		if slices.Contains(c.PlainURLs[:i], url) {
			faults.Add("plain url %q is given twice", url)
		}
	}
	if len(c.PlainURLs) > 0 && c.Mode.Ordered() {
		faults.Add("plain urls %s in a group that is %s: plain peers keep no order over members", strings.Join(c.PlainURLs, " "), c.Mode)
	}
	if c.PlainMaxMessage < 1 || c.PlainMaxMessage > LargestPlainMessage {
		faults.Add("messages of plain peers of up to %d bytes: it must be between 1 and %d", c.PlainMaxMessage, LargestPlainMessage)
	}
}

// insecure is why a runtime that requires TLS has no plain URLs.
func (c *Config) insecure(required bool) error {
	if !required || len(c.PlainURLs) == 0 {
		return nil
	}
	return fmt.Errorf("plain urls %s: this runtime requires TLS, and plain peers have none: %w", strings.Join(c.PlainURLs, " "), messages.ErrInvalid)
}

// plug begins the links to plain peers.
func (a *member) plug(ctx actor.Context) {
	a.inlets = make(map[string]*actor.PID)
	for _, url := range a.m.cfg.PlainURLs {
		a.untried[url] = struct{}{}
		a.plugAt(ctx, url)
	}
}

func (a *member) plugAt(ctx actor.Context, url string) {
	cfg := a.m.cfg
	in := &plain.Inlet{
		Node: a.node, In: a.m.in, Destination: cfg.Destination, Group: cfg.Group, Member: cfg.ID, URL: url, MaxMessage: cfg.PlainMaxMessage,
	}
	pid, err := ctx.SpawnNamed(supervisor.Props(plain.NewInlet(in)), a.node.Name("plain", url))
	if err != nil {
		supervisor.Fail(ctx, err)
	}
	a.inlets[url] = pid
}

// unplugged hears of the end of a link to a plain peer, which begins again unless the
// member leaves.
func (a *member) unplugged(ctx actor.Context, who *actor.PID) {
	for url, pid := range a.inlets {
		if pid.Equal(who) {
			delete(a.inlets, url)
			if a.state != leaving {
				a.plugAt(ctx, url)
			}
		}
	}
}
