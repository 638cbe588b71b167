package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/penstock-io/penstock"
)

func TestCodeOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want ExitCode
	}{
		{nil, ExitDone},
		{errors.New("any"), ExitFailed},
		{io.ErrClosedPipe, ExitFailed},
		{Usagef("no"), ExitUsage},
		{fmt.Errorf("join: %w", penstock.ErrInvalid), ExitUsage},
		{&unreachableError{[]string{"a"}, penstock.ErrUnavailable}, ExitUnreachable},
		{fmt.Errorf("%w: %w", penstock.ErrUnavailable, context.DeadlineExceeded), ExitUnreachable},
		{fmt.Errorf("flush: %w", context.DeadlineExceeded), ExitIncomplete},
		{context.Canceled, ExitIncomplete},
		{Incompletef("half"), ExitIncomplete},
		{&penstock.AbandonedError{Messages: 1}, ExitIncomplete},
		{errors.Join(Incompletef("half"), penstock.ErrUnavailable), ExitIncomplete},
		{fmt.Errorf("list: %w", penstock.ErrDenied), ExitDenied},
		{&saidError{Usagef("no")}, ExitUsage},
		{penstock.ErrTooLarge, ExitFailed},
		{penstock.ErrDestinationTaken, ExitFailed},
	} {
		if got := CodeOf(c.err); got != c.want {
			t.Errorf("%v: %d, want %d", c.err, got, c.want)
		}
	}
}
