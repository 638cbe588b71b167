package topics

// What became of the records of a put.

import (
	"errors"
	"fmt"
	"sync"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// putTally takes the results of records, in any order and from any goroutine.
type putTally struct {
	// refused is told the first failure, so that no more is read.
	refused func(cause error)

	mu     sync.Mutex
	counts putCounts
}

// putCounts says how many records ended how, with the first error of a kind.
type putCounts struct {
	put            int
	known          int // of put, which were in the topic before
	failed, unsure int
	failure, doubt error
}

func (t *putTally) settle(r penstock.PutResult) {
	t.mu.Lock()
	first := t.counts.add(r)
	t.mu.Unlock()
	if first {
		t.refused(r.Err)
	}
}

func (t *putTally) count() putCounts {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.counts
}

// add enters one result and reports whether it is the first that is no success.
func (c *putCounts) add(r penstock.PutResult) bool {
	first := c.failed+c.unsure == 0
	switch {
	case r.Err == nil:
		c.put++
		if r.Duplicate {
			c.known++
		}
		return false
	case errors.Is(r.Err, penstock.ErrUnknownOutcome):
		if c.unsure++; c.doubt == nil {
			c.doubt = r.Err
		}
	default:
		if c.failed++; c.failure == nil {
			c.failure = r.Err
		}
	}
	return first
}

// verdict is the error of a put of which so many records were taken. reading
// and flushing are how these two ended, ended why the command had to, or nil.
// What a signal or the timeout has cut short is incomplete, whatever the
// records say of it.
func (c putCounts) verdict(taken int, reading, flushing, ended error) error {
	unsure := taken - c.put - c.failed // with those that nobody settled
	var errs []error
	if c.failed+c.unsure == 0 || ended != nil {
		errs = append(errs, reading) // else it ended for that, which is said below
	}
	if flushing != nil && unsure == 0 && c.failed == 0 {
		errs = append(errs, flushing)
	}
	if c.failed > 0 {
		errs = append(errs, fmt.Errorf("%d of %d records were not put: %w", c.failed, taken, c.failure))
	}
	switch {
	case unsure > 0 && ended != nil:
		errs = append(errs, cli.Incompletef("%d of %d records may be in the topic, or not", unsure, taken))
	case unsure > 0 && c.doubt != nil:
		errs = append(errs, fmt.Errorf("%d of %d records may be in the topic, or not: %w", unsure, taken, c.doubt))
	case unsure > 0:
		errs = append(errs, fmt.Errorf("%d of %d records may be in the topic, or not: %w", unsure, taken, errors.Join(penstock.ErrUnknownOutcome, flushing)))
	}
	return errors.Join(errs...)
}
