package commitlog

import (
	"errors"
	"testing"

	"github.com/penstock-io/penstock/messages"
)

// Who knows batches of before etcd was set back is told that, and not that the
// log is damaged, whether nothing is there now or others are.
func TestFetchOfABatchThatWasRolledBack(t *testing.T) {
	p, _ := topicPartition(t)
	ctx := testContext(t)
	a := p.Appender(AppenderConfig{})
	mustAppend(t, a, sealedWith("a"))
	mustAppend(t, a, sealedWith("b", "c"))
	known, err := p.Entries(ctx, 0, 10)
	if err != nil {
		t.Fatal(err)
	}
	remove(t, p.log, p.indexKey(1))
	remove(t, p.log, p.bodyKey(1))
	for _, now := range []string{"nothing", "another"} {
		if now == "another" {
			mustAppend(t, p.Appender(AppenderConfig{}), sealedWith("x"))
		}
		got, err := p.Fetch(ctx, known)
		if len(got) != 1 || !errors.Is(err, messages.ErrLogRolledBack) || errors.Is(err, messages.ErrCorrupt) {
			t.Errorf("%s is there now: %d batches, %v", now, len(got), err)
		}
	}
}
