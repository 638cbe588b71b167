package keys

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const sp Space = "/penstock"

func TestLayout(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{sp.Dests(), "/penstock/dest/"},
		{sp.Dest("o"), "/penstock/dest/o/"},
		{sp.Sole("o"), "/penstock/dest/o/sole"},
		{sp.Senders("o"), "/penstock/dest/o/senders/"},
		{sp.Sender("o", "s1"), "/penstock/dest/o/senders/s1"},
		{sp.AllSecrets(), "/penstock/secret/"},
		{sp.Secrets("o"), "/penstock/secret/o/"},
		{sp.Secret("o", "s1"), "/penstock/secret/o/s1"},
		{sp.GroupSecrets("o", "g"), "/penstock/secret/o/g/"},
		{sp.GroupSecret("o", "g", "s1"), "/penstock/secret/o/g/s1"},
		{sp.Generation("o", ""), "/penstock/secret/o/~generation"},
		{sp.Generation("o", "g"), "/penstock/secret/o/g/~generation"},
		{sp.AllowedTo("o"), "/penstock/allow/o/"},
		{sp.Allowed("o", "g", "n"), "/penstock/allow/o/g/n"},
		{sp.Groups("o"), "/penstock/dest/o/groups/"},
		{sp.Group("o", "g"), "/penstock/dest/o/groups/g/"},
		{sp.GroupMeta("o", "g"), "/penstock/dest/o/groups/g/meta"},
		{sp.Deserted("o", "g"), "/penstock/dest/o/groups/g/deserted"},
		{sp.Paused("o", "g"), "/penstock/dest/o/groups/g/paused"},
		{sp.Members("o", "g"), "/penstock/dest/o/groups/g/members/"},
		{sp.Member("o", "g", "m"), "/penstock/dest/o/groups/g/members/m"},

		{sp.Topics(), "/penstock/topics/"},
		{sp.Topic("orders"), "/penstock/topics/orders"},
		{sp.AllDeleting(), "/penstock/deleting/"},
		{sp.Deleting("id"), "/penstock/deleting/id"},
		{sp.Log("id"), "/penstock/log/id/"},
		{sp.Starts("id"), "/penstock/log/id/start/"},
		{sp.LogStart("id", 7), "/penstock/log/id/start/0007"},
		{sp.Hints("id"), "/penstock/log/id/hint/"},
		{sp.Hint("id", 7), "/penstock/log/id/hint/0007"},
		{sp.AllCompacted("id"), "/penstock/log/id/compacted/"},
		{sp.Compacted("id", 7), "/penstock/log/id/compacted/0007"},
		{sp.AllExpiring("id"), "/penstock/log/id/expiring/"},
		{sp.Expiring("id", 7), "/penstock/log/id/expiring/0007"},
		{sp.Indexes("id"), "/penstock/log/id/index/"},
		{sp.Index("id", 7), "/penstock/log/id/index/0007/"},
		{sp.IndexEntry("id", 7, 42), "/penstock/log/id/index/0007/00000000000000000042"},
		{sp.Bodies("id", 7), "/penstock/log/id/body/0007/"},
		{sp.Body("id", 7, 42), "/penstock/log/id/body/0007/00000000000000000042"},
		{sp.Tickets("id", 7), "/penstock/log/id/queue/0007/"},
		{sp.Ticket("id", 7, "a1"), "/penstock/log/id/queue/0007/a1"},
		{sp.AllConsumerGroups(), "/penstock/groups/"},
		{sp.ConsumerGroups("id"), "/penstock/groups/id/"},
		{sp.ConsumerGroup("id", "g"), "/penstock/groups/id/g/"},
		{sp.ConsumerGroupMeta("id", "g"), "/penstock/groups/id/g/meta"},
		{sp.ConsumerGroupPaused("id", "g"), "/penstock/groups/id/g/paused"},
		{sp.Assignment("id", "g"), "/penstock/groups/id/g/assignment"},
		{sp.ConsumerMembers("id", "g"), "/penstock/groups/id/g/members/"},
		{sp.ConsumerMember("id", "g", "m"), "/penstock/groups/id/g/members/m"},
		{sp.Claims("id", "g"), "/penstock/groups/id/g/claims/"},
		{sp.Claim("id", "g", 1023), "/penstock/groups/id/g/claims/1023"},
		{sp.TopicOffsets("id"), "/penstock/offsets/id/"},
		{sp.GroupOffsets("id", "g"), "/penstock/offsets/id/g/"},
		{sp.Committed("id", "g", 0), "/penstock/offsets/id/g/0000"},
		{sp.Beginning("id", "g"), "/penstock/offsets/id/g/begin"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
}

// A right to list a destination must not be a right to read its tokens.
func TestSecretsLieOutsideDests(t *testing.T) {
	if strings.HasPrefix(sp.Secret("o", "s"), sp.Dests()) {
		t.Fatal("a token lies under the prefix of destinations")
	}
}

func TestValidateName(t *testing.T) {
	long := strings.Repeat("a", MaxName)
	for _, c := range []struct {
		name, fault string // fault: text the error must have, empty for a good name
	}{
		{"orders", ""}, {"0", ""}, {"A.b_c-d", ""}, {long, ""}, {"meta", ""}, {"senders", ""},
		{"", "is empty"},
		{long + "a", "129 bytes long"},
		{"-a", "must begin with a letter or digit"},
		{".a", "must begin with a letter or digit"},
		{"..", "must begin with a letter or digit"},
		{"a/b", "at byte 1"},
		{"ab ", "at byte 2"},
		{"a\x00", "at byte 1"},
		{"aé", "at byte 1"},
	} {
		err := ValidateName("group", c.name)
		if c.fault == "" {
			if err != nil {
				t.Errorf("%q: %v", c.name, err)
			}
			continue
		}
		if !errors.Is(err, messages.ErrInvalid) || !strings.Contains(err.Error(), c.fault) || !strings.Contains(err.Error(), "group name") {
			t.Errorf("%q: %v", c.name, err)
		}
	}
	if err := ValidateName("group", strings.Repeat("/", 1<<20)); len(err.Error()) > 1000 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

func TestSpaceValidate(t *testing.T) {
	for _, good := range []Space{DefaultSpace, "/a", "/a/b-c/d.e"} {
		if err := good.Validate(); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for _, bad := range []Space{"", "/", "a", "/a/", "//a", "/a//b", "/a b", "/a/..", Space("/" + strings.Repeat("a/", 600) + "a")} {
		if err := bad.Validate(); !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, key := range []string{
		"", "/", "/penstock", "/penstock/", "/penstock/dest", "/penstock/dest/", "/penstock/dest/o", "/penstock/dest/o/",
		"/penstock/dest/o/other", "/penstock/dest/o/senders", "/penstock/dest/o/senders/", "/penstock/dest/o/senders/a/b",
		"/penstock/dest//sole", "/penstock/dest/o/groups/g", "/penstock/dest/o/groups/g/members/", "/penstock/dest/o/groups/g/members/m/x",
		"/penstock/dest/o/groups//meta", "/penstock/allow/o/g", "/penstock/allow/o/g/", "/penstock/allow/~a/g/n", "/penstock/secret//~generation", "/penstock/secret/o//~generation", "/penstock/secret/o/g/~other", "/penstock/allow/o/g/n/x", "/penstock/secret/o", "/penstock/secret/o/", "/penstock/secret//x", "/penstock/secret/o/a/b/c", "/penstock/secret/o/a/",
		"/penstocks/dest/o/sole", "/other/dest/o/sole", "penstock/dest/o/sole", "/penstock/topics/o", "/penstock/dest/-o/sole",
		"/penstock/topics", "/penstock/topics/", "/penstock/topics/-rders", "/penstock/topics/orders/", "/penstock/topics/orders/x",
		"/penstock/deleting/", "/penstock/deleting/-", "/penstock/deleting/a/b",
		"/penstock/log", "/penstock/log/id", "/penstock/log/id/start", "/penstock/log/id/start/", "/penstock/log/id/other/0001",
		"/penstock/log/id/start/1", "/penstock/log/id/start/00001", "/penstock/log/id/start/000a", "/penstock/log/id/start/+001",
		"/penstock/log/id/start/-001", "/penstock/log/id/start/1024", "/penstock/log/id/start/9999", "/penstock/log//start/0001",
		"/penstock/log/id/start/0001/x", "/penstock/log/id/hint/0001/x", "/penstock/log/id/index/0001", "/penstock/log/id/index/0001/",
		"/penstock/log/id/index/0001/1", "/penstock/log/id/index/0001/9223372036854775808", "/penstock/log/id/index/0001/09223372036854775808",
		"/penstock/log/id/index/0001/-0000000000000000001", "/penstock/log/id/index/0001/00000000000000000001/x",
		"/penstock/log/id/body/0001", "/penstock/log/id/body/0001/0x", "/penstock/log/id/queue/0001", "/penstock/log/id/queue/0001/", "/penstock/log/id/queue/0001/-",
		"/penstock/groups", "/penstock/groups/id", "/penstock/groups/id/g", "/penstock/groups/id/g/", "/penstock/groups/id/g/other", "/penstock/groups//g/meta",
		"/penstock/groups/id//meta", "/penstock/groups/id/g/meta/x", "/penstock/groups/id/g/members", "/penstock/groups/id/g/members/", "/penstock/groups/id/g/members/m/x",
		"/penstock/groups/id/g/claims/", "/penstock/groups/id/g/claims/1", "/penstock/groups/id/g/claims/1024", "/penstock/groups/id/g/claims/0001/x",
		"/penstock/offsets/id/g", "/penstock/offsets/id/g/", "/penstock/offsets/id/g/meta", "/penstock/offsets/id/g/1024", "/penstock/offsets//g/0001", "/penstock/offsets/id//0001",
	} {
		if k, ok := sp.Parse(key); ok {
			t.Errorf("%q parsed as %+v", key, k)
		}
	}
}

var name = rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._-]{0,20}`)

// fields are what each kind of key has.
var fields = map[Kind]string{
	KindAllowed: "dest group id", KindSole: "dest", KindSender: "dest id", KindSecret: "dest id", KindGroupSecret: "dest group id", KindGeneration: "dest group",
	KindGroupMeta: "dest group", KindDeserted: "dest group", KindMember: "dest group id",
	KindTopic: "topic", KindDeleting: "topic",
	KindLogStart: "topic partition", KindHint: "topic partition", KindCompacted: "topic partition", KindExpiring: "topic partition",
	KindIndexEntry: "topic partition base", KindBody: "topic partition base", KindTicket: "topic partition id",
	KindConsumerGroupMeta: "topic group", KindAssignment: "topic group", KindConsumerMember: "topic group id",
	KindClaim: "topic group partition", KindCommitted: "topic group partition", KindBeginning: "topic group", KindOwned: "topic group partition",
	KindPaused: "dest group", KindConsumerGroupPaused: "topic group",
}

func TestBuildThenParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		space := Space("/" + name.Draw(t, "space"))
		k := Key{Kind: rapid.SampledFrom(slices.Sorted(maps.Keys(fields))).Draw(t, "kind")}
		for field := range strings.FieldsSeq(fields[k.Kind]) {
			switch field {
			case "dest":
				k.Dest = name.Draw(t, "dest")
			case "topic":
				k.Topic = "abc" + name.Draw(t, "topic")
			case "group":
				k.Group = name.Draw(t, "group")
			case "id":
				k.ID = name.Draw(t, "id")
			case "partition":
				k.Partition = rapid.IntRange(0, messages.MaxPartitions-1).Draw(t, "partition")
			case "base":
				k.Base = rapid.Int64Range(0, math.MaxInt64).Draw(t, "base")
			}
		}
		got, ok := space.Parse(k.In(space))
		if !ok || got != k {
			t.Fatalf("%+v became %q became %+v, %v", k, k.In(space), got, ok)
		}
	})
}

// Lists come in the order of keys, which must be that of numbers.
func TestNumbersSort(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		offset, partition := rapid.Int64Range(0, math.MaxInt64), rapid.IntRange(0, messages.MaxPartitions-1)
		p, q := partition.Draw(t, "p"), partition.Draw(t, "q")
		a, b := offset.Draw(t, "a"), offset.Draw(t, "b")
		if got, want := strings.Compare(sp.IndexEntry("id", p, a), sp.IndexEntry("id", q, b)), cmp.Or(cmp.Compare(p, q), cmp.Compare(a, b)); got != want {
			t.Fatalf("%d/%d and %d/%d compare as %d, want %d", p, a, q, b, got, want)
		}
		if got, ok := ParseOffset(Offset(a)); !ok || got != a {
			t.Fatalf("%d became %d, %v", a, got, ok)
		}
	})
}

// A watch of a group must not carry commits, and a doorbell no bodies.
// Numbers are written as fmt would, without its allocations.
func TestNumbersArePadded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := rapid.Int64().Draw(t, "offset")
		if got, want := Offset(o), fmt.Sprintf("%020d", o); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
		p := rapid.IntRange(-1, 123456).Draw(t, "partition")
		if got, want := partition(p), fmt.Sprintf("%04d", p); got != want {
			t.Fatalf("%q, want %q", got, want)
		}
	})
	base := int64(1 << 40)
	if n := testing.AllocsPerRun(100, func() { Offset(base) }); n > 1 {
		t.Errorf("an offset takes %g allocations", n)
	}
}

func TestCutIndexes(t *testing.T) {
	const sp = Space("/penstock")
	key := sp.IndexEntry("topic", 3, 5)
	if rest, ok := sp.CutIndexes("topic", key); !ok || rest != key[len(sp.Indexes("topic")):] {
		t.Errorf("%q, %v", rest, ok)
	}
	for _, bad := range []string{"", "x" + key, sp.IndexEntry("topi", 3, 5), sp.IndexEntry("topics", 3, 5), sp.Body("topic", 3, 5), sp.Indexes("topic")[:20]} {
		if rest, ok := sp.CutIndexes("topic", bad); ok || rest != bad {
			t.Errorf("%q: %q, %v", bad, rest, ok)
		}
	}
	var rest string
	if n := testing.AllocsPerRun(100, func() { rest, _ = sp.CutIndexes("topic", key) }); n > 0 || rest == "" {
		t.Errorf("it takes %g allocations", n)
	}
}

func TestNoisyKeysLieApart(t *testing.T) {
	if strings.HasPrefix(sp.Committed("id", "g", 1), sp.ConsumerGroup("id", "g")) {
		t.Error("offsets lie under the group")
	}
	if strings.HasPrefix(sp.Body("id", 1, 1), sp.Indexes("id")) || strings.HasPrefix(sp.Ticket("id", 1, "p"), sp.Indexes("id")) {
		t.Error("more than the index lies under the index")
	}
}

func TestValidateTopic(t *testing.T) {
	for name, good := range map[string]bool{"abc": true, "a.b": true, "Orders_2-x": true, "ab": false, "": false, "-abc": false, "a/b": false, strings.Repeat("a", MaxName+1): false} {
		if err := ValidateTopic(name); (err == nil) != good || err != nil && !errors.Is(err, messages.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("/penstock", "/penstock/dest/o/sole")
	f.Add("/penstock", "/penstock/dest/o/groups/g/members/m")
	f.Add("/a/b", "/a/b/secret/o/s")
	f.Add("/a/b", "/a/b/allow/o/g/n")
	f.Add("", "//dest/o/sole")
	f.Add("/penstock", "/penstock/topics/orders")
	f.Add("/penstock", "/penstock/deleting/id")
	f.Add("/penstock", "/penstock/log/id/start/0007")
	f.Add("/penstock", "/penstock/log/id/index/0007/00000000000000000042")
	f.Add("/penstock", "/penstock/log/id/body/1023/09223372036854775807")
	f.Add("/penstock", "/penstock/log/id/queue/0007/a1")
	f.Add("/penstock", "/penstock/groups/id/g/members/m")
	f.Add("/penstock", "/penstock/groups/id/g/claims/0007")
	f.Add("/penstock", "/penstock/offsets/id/g/0007")
	f.Fuzz(func(t *testing.T, space, key string) {
		k, ok := Space(space).Parse(key)
		if !ok {
			if k != (Key{}) {
				t.Fatalf("refused, yet %+v", k)
			}
			return
		}
		if k.In(Space(space)) != key {
			t.Fatalf("%q became %+v became %q", key, k, k.In(Space(space)))
		}
		for what, name := range map[string]string{"destination": k.Dest, "topic": k.Topic, "group": k.Group, "id": k.ID} {
			if !strings.Contains(fields[k.Kind], strings.Replace(what, "destination", "dest", 1)) {
				if name != "" {
					t.Fatalf("%s has the %s %q", k.Kind, what, name)
				}
				continue
			}
			if err := ValidateName(what, name); err != nil {
				t.Fatal(err)
			}
		}
		if k.Partition < 0 || k.Partition >= messages.MaxPartitions || k.Base < 0 {
			t.Fatalf("%+v", k)
		}
	})
}

func TestKindString(t *testing.T) {
	seen := map[string]Kind{}
	for k := None; k <= KindGeneration; k++ {
		if other, dup := seen[k.String()]; dup {
			t.Errorf("%d and %d are both %q", k, other, k)
		}
		seen[k.String()] = k
	}
	if got := Kind(200).String(); got != "none" {
		t.Errorf("an unknown kind is %q", got)
	}
	if (Key{}).In(sp) != "" {
		t.Error("the empty key has a text")
	}
}

// Promise: the destination over which a shared group lends has keys that Parse reads, and a
// name that nobody else can give.
func TestLoansAreNobodysDestination(t *testing.T) {
	name := Loans("oxyngejluc2vhjhe", "thumb.nails")
	if !IsLoans(name) || ValidateName("destination", name) == nil || ValidateDestination(name, true) != nil || ValidateDestination(name, false) == nil {
		t.Errorf("%q is a name for anybody", name)
	}
	s := Space("/penstock")
	for _, key := range []string{s.Sole(name), s.Sender(name, "a"), s.Secret(name, "a"), s.GroupSecret(name, "g", "a"), s.GroupMeta(name, "g"), s.Deserted(name, "g"), s.Paused(name, "g"), s.Member(name, "g", "a")} {
		if k, ok := s.Parse(key); !ok || k.Dest != name || k.In(s) != key {
			t.Errorf("%s is %+v, %t", key, k, ok)
		}
	}
	for _, name := range []string{"", "~", "~~", "~a", "~a~", "~~b", "~a~b~c", "a~b", "~a/~b"} {
		if IsLoans(name) || ValidateDestination(name, true) == nil {
			t.Errorf("%q is taken", name)
		}
	}
	if ValidateDestination("orders", true) != nil || ValidateDestination("orders", false) != nil {
		t.Error("an ordinary name is refused")
	}
}
