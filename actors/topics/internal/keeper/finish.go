package keeper

// The job that finishes what was interrupted: topics that were deleted, or made, in part.

import (
	"context"
	"time"
)

// finishEvery is how often it is looked for topics that were deleted in part.
const finishEvery = 30 * time.Second

type finishing struct{}

// Name is "finish".
func (finishing) Name() string { return "finish" }

// Do removes what is left of topics that were deleted. Nothing of it can be wrong for
// whoever does it, so it compares no office.
func (finishing) Do(ctx context.Context, w *Work) (time.Duration, error) {
	if err := w.Log.Sweep(ctx); err != nil {
		return 0, err
	}
	return finishEvery, nil
}
