package look

// The tree of actors as a person sees it.

import (
	"strings"
	"testing"
	"time"
)

func TestPrintTree(t *testing.T) {
	since := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	var out strings.Builder
	err := printTree(&out, []ActorInfo{
		{ID: "p", State: "running", Since: since, Mailbox: 0.0124},
		{ID: "p/dest#1", Parent: "p", State: "serving", Queue: 3, Mailbox: 1234.5, Processing: 2.34567, Sampled: 9, Since: since,
			Attributes: []Attribute{{"groups", "2"}, {"note", "a\x1b b"}}},
		{ID: "p/dest#1/pipe", Parent: "p/dest#1", State: "running", Queue: 1, Mailbox: 192_345, Silent: 192_345, Since: since, LastError: "boom"},
		{ID: "orphan", Parent: "gone", State: "restarting", Restarts: 2, Since: since, LastError: "a\nb"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `
ACTOR     STATE       RESTARTS  QUEUE  MAILBOX  PROCESSING  SINCE                 ATTRIBUTES            LAST ERROR
orphan    restarting  2         0      0s       -           2026-05-01T12:00:00Z  -                     a�b
p         running     0         0      12µs     -           2026-05-01T12:00:00Z  -                     -
  dest#1  serving     0         3      1.2s     2.3ms       2026-05-01T12:00:00Z  groups=2 note="a� b"  -
    pipe  running     0         1      3m12s    -           2026-05-01T12:00:00Z  silent for 3m12s      boom
`
	if got := out.String(); got != strings.TrimPrefix(want, "\n") {
		t.Errorf("printed\n%swant%s", got, want)
	}
}
