package rebalance

// Promise: whatever comes and goes, and however late anybody hears of it, no
// partition has two owners, who lost one is told, and once it is quiet each
// partition is claimed by the one it was given to and nothing is written any
// more.

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

func TestGroupSimulation(t *testing.T) {
	rapid.Check(t, simulateGroup)
}

func simulateGroup(t *rapid.T) {
	g := &paperCompany{
		t: t, e: newPaperEtcd(), now: time.Unix(1000, 0), fences: make(map[int]int64),
		partitions: rapid.IntRange(1, 5).Draw(t, "partitions"),
	}
	g.join("m0")
	ids := []string{"m0", "m1", "m2", "m3"}
	actions := slices.Concat(
		slices.Repeat([]string{"request"}, 12), slices.Repeat([]string{"hear"}, 8), slices.Repeat([]string{"finish"}, 4),
		[]string{"join", "join", "die", "renew", "drain", "restart", "relist", "clock", "clock", "grow", "learn", "stuck", "spoil claim", "spoil plan", "drop settings", "accuse", "accuse"},
	)
	for range rapid.IntRange(10, 150).Draw(t, "steps") {
		action := rapid.SampledFrom(actions).Draw(t, "action")
		living := g.living()
		if action == "join" {
			id := rapid.SampledFrom(ids).Draw(t, "id")
			if !slices.ContainsFunc(living, func(m *paperMember) bool { return m.id == id }) {
				g.join(id)
			}
			continue
		}
		if len(living) == 0 {
			continue
		}
		m := living[rapid.IntRange(0, len(living)-1).Draw(t, "member")]
		switch action {
		case "request":
			if n := len(m.flights); n > 0 {
				m.step(rapid.IntRange(0, n-1).Draw(t, "which"))
			}
		case "hear":
			m.keep()
			m.hear(rapid.IntRange(1, 4).Draw(t, "how much"))
		case "relist":
			m.relist()
		case "finish":
			if !m.stuck {
				m.finish()
			}
		case "die":
			m.die()
		case "renew":
			m.renew()
		case "drain":
			m.drain()
		case "restart":
			m.restart(rapid.Bool().Draw(t, "done"))
		case "clock":
			g.now = g.now.Add(time.Duration(rapid.IntRange(1, 20).Draw(t, "seconds")) * time.Second)
			m.decide()
		case "grow":
			g.partitions = min(g.partitions+1, 6)
		case "learn":
			m.partitions = g.partitions
			m.decide()
		case "stuck":
			m.stuck = !m.stuck
		case "spoil claim":
			// Somebody overwrites a claim: its fence stays.
			p := rapid.IntRange(0, g.partitions-1).Draw(t, "partition")
			if _, fence := g.e.claim(p); fence != 0 {
				g.e.put(paperClaimKey(p), []byte{0xff})
			}
		case "spoil plan":
			g.e.put(paperPlanKey, []byte{0xff})
		case "accuse":
			m.accuse(rapid.SampledFrom(ids).Draw(t, "whom"))
		case "drop settings":
			g.e.drop(paperSettingsKey)
		}
	}
	g.settle()
}

// settle: nothing more happens, and everybody hears of everything.
func (g *paperCompany) settle() {
	quiet, rounds, generation := 0, 0, int64(0)
	for ; quiet < paperQuietRounds; rounds++ {
		if rounds > paperOutOfTime {
			g.t.Fatalf("still at it after %d rounds: %s", rounds, g.describe())
		}
		revision, asked := g.e.revision, g.asked
		for _, m := range g.living() {
			m.partitions = g.partitions
			m.keep()
			for n := 2 * len(m.flights); n > 0 && len(m.flights) > 0; n-- { // its answers may ask for more
				m.step(0)
			}
			m.hear(len(g.e.history))
			m.decide()
			if !m.stuck {
				m.finish()
			}
		}
		g.now = g.now.Add(paperRevoke / 4)
		if g.e.revision == revision && g.asked == asked {
			quiet++
		} else {
			quiet = 0
		}
	}
	var a pb.Assignment
	kv := g.e.kvs[paperPlanKey]
	if err := proto.Unmarshal(kv.Value, &a); err == nil {
		generation = a.Generation
	}
	owners := make(map[int]*paperMember)
	staying := 0
	for _, m := range g.living() {
		if m.phase != paperInside {
			continue
		}
		staying++
		for p, h := range m.holds {
			if owners[p] != nil {
				g.t.Fatalf("partition %d has two owners: %s", p, g.describe())
			}
			owners[p] = m
			finishing := m.stuck && h.asked // what it claimed before it was buried alive
			if c, fence := g.e.claim(p); fence != h.Fence || c.Member != "" && (c.Member != m.id || c.MemberRevision != g.e.member(m.id) && !finishing) {
				g.t.Fatalf("%s has partition %d, which is %v's: %s", m.id, p, c, g.describe())
			}
		}
	}
	if staying == 0 {
		return
	}
	if g.e.kvs[paperSettingsKey].CreateRevision == 0 {
		g.t.Fatalf("the group has no settings: %s", g.describe())
	}
	if generation < 1 || len(a.Shares) != staying || int(a.Partitions) != g.partitions {
		g.t.Fatalf("%d members, %d partitions, the plan is %v: %s", staying, g.partitions, &a, g.describe())
	}
	for _, share := range a.Shares {
		for _, p := range share.Partitions {
			if m := owners[int(p)]; m == nil || m.id != share.Member {
				g.t.Fatalf("partition %d was given to %s: %s", p, share.Member, g.describe())
			}
		}
	}
	if len(owners) != g.partitions {
		g.t.Fatalf("%d of %d partitions have an owner: %s", len(owners), g.partitions, g.describe())
	}
}

func (g *paperCompany) describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "revision %d\n", g.e.revision)
	for _, kv := range g.e.snapshot().KVs {
		var m proto.Message
		switch k, _ := paperSpace.Parse(kv.Key); k.Kind {
		case keys.KindConsumerMember:
			m = &pb.ConsumerMember{}
		case keys.KindClaim:
			m = &pb.Claim{}
		default:
			m = &pb.Assignment{}
		}
		err := proto.Unmarshal(kv.Value, m)
		fmt.Fprintf(&b, "%s created %d: %v %v\n", kv.Key, kv.CreateRevision, m, err)
	}
	for _, m := range g.living() {
		fmt.Fprintf(&b, "%s %s stuck=%v view %d busy %v held %v holds", m.id, m.phase, m.stuck, m.view.revision, m.busy, m.held)
		for p, h := range m.holds {
			fmt.Fprintf(&b, " %d:%+v", p, *h)
		}
		b.WriteString(" wants " + actionsOf(m.view.Decide(m.self(), g.now)) + "\n")
	}
	return b.String()
}
