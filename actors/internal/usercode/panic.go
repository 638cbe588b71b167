package usercode

// What is told of a user's function that panics or ends its goroutine.

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/penstock-io/penstock/messages"
)

// ErrGoexit says that a handler called runtime.Goexit, as t.FailNow does.
var ErrGoexit = errors.New("the handler ended its goroutine")

// panicPause is the least time between two events of one callback's panics.
const panicPause = time.Second

// PanicTeller returns a function that emits messages.CallbackPanicked for a
// callback's panic, or for a runtime.Goexit when value is nil: at once for the
// first, then sums. It is safe for concurrent use.
func PanicTeller(emit func(messages.Event), callback string) func(value any, stack []byte) {
	var mu sync.Mutex
	var told time.Time
	count := 0
	return func(value any, stack []byte) {
		mu.Lock()
		defer mu.Unlock()
		count++
		if time.Since(told) < panicPause {
			return
		}
		said := fmt.Sprint(value)
		if value == nil {
			said = ErrGoexit.Error()
		}
		emit(messages.CallbackPanicked{Callback: callback, Count: count, Value: said, Stack: string(stack)})
		told, count = time.Now(), 0
	}
}
