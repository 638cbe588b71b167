package produce

// How the result of a record comes to who put it.

import (
	"errors"
	"sync"

	"github.com/penstock-io/penstock/messages"
)

func refused(part int, err error) messages.PutResult {
	return messages.PutResult{Partition: part, Offset: -1, Err: err}
}

// waiter is a Put that waits. One that was told is used again.
type waiter struct{ fate chan messages.PutResult }

func (w *waiter) result(_ int, r messages.PutResult) { w.fate <- r }

// callback is PutAsync's. Its producer calls it.
type callback func(messages.PutResult)

func (c callback) result(_ int, r messages.PutResult) { c(r) }

// tally collects the results of a PutEach.
type tally struct {
	mu      sync.Mutex
	results []messages.PutResult
	left    int // without a result; 0 means that results is the caller's
	done    chan struct{}
}

// errUndecided stands in a tally for a result to come. It is put there before
// anybody else can know of the message.
var errUndecided = errors.New("undecided")

func (t *tally) result(i int, r messages.PutResult) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == 0 {
		return
	}
	t.results[i] = r
	if t.left--; t.left == 0 {
		close(t.done)
	}
}

// abandon decides what is undecided. What comes later is not heard.
func (t *tally) abandon(decide func(part int) error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.left == 0 {
		return
	}
	t.left = 0
	for i := range t.results {
		if r := &t.results[i]; r.Err == errUndecided { //nolint:errorlint // never wrapped
			r.Err = decide(r.Partition)
		}
	}
}

// distinct joins the errors of results, each text once.
func distinct(results []messages.PutResult) error {
	var errs []error
	seen := make(map[string]bool)
	var last error
	for _, r := range results {
		if r.Err == nil || r.Err == last { //nolint:errorlint // the very same value is meant
			continue // a batch that failed has one error for all its records
		}
		last = r.Err
		if text := r.Err.Error(); !seen[text] {
			seen[text] = true
			errs = append(errs, r.Err)
		}
	}
	return errors.Join(errs...)
}
