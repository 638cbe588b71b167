package props_test

import (
	"slices"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/supervisor"
)

// Whoever looks at the tree finds a user's children with what they are for.
func TestChildrenReportWhatTheyAreFor(t *testing.T) {
	e := enginetest.NewSpace(t).Begin(t)
	to := e.System().Root.Spawn(actor.PropsFromFunc(func(actor.Context) {}))
	defer func() { _ = supervisor.Stop(enginetest.Within(t), e.System(), to) }()
	p, _, pids := family(t, e, map[string]*actor.Props{
		"orders":  e.Destination(actors.DestinationConfig{Name: "orders"}),
		"billing": e.Member(actors.MemberConfig{Destination: "orders", Group: "billing", Window: 64}, actors.Receiver{To: to}),
	})
	hears[*messages.Registered](t, p)
	hears[*messages.Joined](t, p)
	tree := e.Tree()
	for name, want := range map[string][]supervisor.Attribute{
		"orders":  {{Name: "destination", Value: "orders"}, {Name: "waiting", Value: "0"}, {Name: "waiting_bytes", Value: "0"}},
		"billing": {{Name: "destination", Value: "orders"}, {Name: "group", Value: "billing"}, {Name: "receiver", Value: to.Id}, {Name: "window", Value: "64"}},
	} {
		at := slices.IndexFunc(tree, func(i supervisor.Info) bool { return i.ID == pids[name].Id })
		if at < 0 || !slices.Equal(tree[at].Attributes, want) {
			t.Errorf("%s is shown as %+v, want %v", name, tree[max(at, 0)], want)
		}
	}
}
