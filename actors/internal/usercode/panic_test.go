package usercode

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// Promise: the first panic of a callback is told at once, then sums, a second
// apart at least. None is left out of the sums.
func TestPanicTellerSums(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var told []string
		tell := PanicTeller(func(e messages.Event) {
			m := e.(messages.CallbackPanicked)
			told = append(told, fmt.Sprintf("%s %d %s %s", m.Callback, m.Count, m.Value, m.Stack))
		}, "done")
		tell("one", []byte("here"))
		for range 4 {
			tell("more", []byte("there"))
		}
		time.Sleep(panicPause - time.Nanosecond)
		tell("within the pause", nil)
		time.Sleep(time.Nanosecond)
		tell(7, []byte("at last"))
		tell("the next pause", nil)
		time.Sleep(panicPause)
		tell(nil, nil)
		want := []string{"done 1 one here", "done 6 7 at last", "done 2 " + ErrGoexit.Error() + " "}
		if !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}
