package recordtest

import (
	"slices"
	"testing"

	"github.com/penstock-io/penstock/messages"
)

func TestNumbersAreThoseOfTheRecords(t *testing.T) {
	want := []uint64{1, 7, 1 << 60}
	if got := Numbers(t, Records(want...)); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if n := messages.PayloadSize(Numbered(1, 100)); n != 100 {
		t.Errorf("%d bytes", n)
	}
	if n := messages.PayloadSize(Numbered(1, 0)); n != 8 {
		t.Errorf("%d bytes, the number takes 8", n)
	}
}
