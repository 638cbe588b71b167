package harness

import (
	"slices"
	"testing"
)

func TestPromisesAreComparedWithTests(t *testing.T) {
	tests := testsIn("package p\n\nfunc TestOrder(t *testing.T) {\n}\n\nfunc helper() {}\n\nfunc FuzzPeer(f *testing.F) {\n}\nfunc TestLost(t *testing.T) {}\n")
	if want := []string{"TestOrder", "FuzzPeer", "TestLost"}; !slices.Equal(tests, want) {
		t.Fatalf("found %q, want %q", tests, want)
	}
	for name, c := range map[string]struct {
		doc  string
		want []string
	}{
		"sound": {"Package p.\n\n# Promises\n\n\torder\n\t\tTestOrder\n\t\tFuzzPeer\n\tnothing is lost\n\t\tTestLost\n\t\tTestOrder\n", nil},
		"none":  {"Package p.\n", []string{"doc.go has no promise", "doc.go does not say which promise FuzzPeer holds", "doc.go does not say which promise TestLost holds", "doc.go does not say which promise TestOrder holds"}},
		"each fault": {"Package p.\n\n\torder\n\t\tTestOrder\n\t\tTestOld\n\tduplicates\n\tlost\n\t\tTestLost\n", []string{
			`doc.go: "order": there is no TestOld`, `doc.go: "duplicates": no test holds that`, "doc.go does not say which promise FuzzPeer holds",
		}},
	} {
		if got := compare(promisesIn(c.doc), tests); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}
