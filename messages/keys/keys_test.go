package keys

import (
	"errors"
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
		{sp.Groups("o"), "/penstock/dest/o/groups/"},
		{sp.Group("o", "g"), "/penstock/dest/o/groups/g/"},
		{sp.GroupMeta("o", "g"), "/penstock/dest/o/groups/g/meta"},
		{sp.Deserted("o", "g"), "/penstock/dest/o/groups/g/deserted"},
		{sp.Members("o", "g"), "/penstock/dest/o/groups/g/members/"},
		{sp.Member("o", "g", "m"), "/penstock/dest/o/groups/g/members/m"},
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
		"/penstock/dest/o/groups//meta", "/penstock/secret/o", "/penstock/secret/o/", "/penstock/secret//x", "/penstock/secret/o/a/b",
		"/penstocks/dest/o/sole", "/other/dest/o/sole", "penstock/dest/o/sole", "/penstock/topics/o", "/penstock/dest/-o/sole",
	} {
		if k, ok := sp.Parse(key); ok {
			t.Errorf("%q parsed as %+v", key, k)
		}
	}
}

var name = rapid.StringMatching(`[A-Za-z0-9][A-Za-z0-9._-]{0,20}`)

func TestBuildThenParse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		space := Space("/" + name.Draw(t, "space"))
		k := Key{Kind: Kind(rapid.IntRange(int(KindSole), int(KindMember)).Draw(t, "kind")), Dest: name.Draw(t, "dest")}
		if k.Kind == KindGroupMeta || k.Kind == KindDeserted || k.Kind == KindMember {
			k.Group = name.Draw(t, "group")
		}
		if k.Kind == KindSender || k.Kind == KindSecret || k.Kind == KindMember {
			k.ID = name.Draw(t, "id")
		}
		got, ok := space.Parse(k.In(space))
		if !ok || got != k {
			t.Fatalf("%+v became %q became %+v, %v", k, k.In(space), got, ok)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add("/penstock", "/penstock/dest/o/sole")
	f.Add("/penstock", "/penstock/dest/o/groups/g/members/m")
	f.Add("/a/b", "/a/b/secret/o/s")
	f.Add("", "//dest/o/sole")
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
		if err := ValidateName("destination", k.Dest); err != nil {
			t.Fatal(err)
		}
	})
}

func TestKindString(t *testing.T) {
	seen := map[string]Kind{}
	for k := None; k <= KindMember; k++ {
		if other, dup := seen[k.String()]; dup {
			t.Errorf("%d and %d are both %q", k, other, k)
		}
		seen[k.String()] = k
	}
	if (Key{}).In(sp) != "" {
		t.Error("the empty key has a text")
	}
}
