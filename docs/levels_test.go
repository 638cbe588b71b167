package docs_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/messages/pb"
)

// Promise: the page about upgrades lists each level with what it brings, and says which
// this release has and serves.
func TestWireLevelsListed(t *testing.T) {
	text, err := os.ReadFile("upgrading.md")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{fmt.Sprintf("This release has level %d, and has links with level %d and later.", pb.LevelNow, pb.LevelOldest)}
	for l := pb.LevelBase; l <= pb.LevelNow; l++ {
		if l.Brings() == "" {
			t.Errorf("level %d has no line in the table of levels", l)
		}
		want = append(want, fmt.Sprintf("| %d | %s |", l, l.Brings()))
	}
	for _, line := range want {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("docs/upgrading.md lacks the line\n%s", line)
		}
	}
}
