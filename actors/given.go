package actors

// What every exported call asks of its arguments before it does anything.

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-io/penstock/messages"
)

func ContextGiven(ctx context.Context) error {
	if ctx == nil {
		return fmt.Errorf("the context is nil: give context.Background() at least: %w", messages.ErrInvalid)
	}
	return nil
}

func HandlerGiven(isNil bool) error {
	if isNil {
		return fmt.Errorf("the handler is nil: %w", messages.ErrInvalid)
	}
	return nil
}

// changeFaults are those of a change to a topic that are faults of every topic.
func changeFaults(u messages.TopicUpdate) error {
	cfg := messages.TopicConfig(u)
	cfg.EnsureDefaults()
	return cfg.Validate()
}

// resetFaults are those of a reset of offsets in every topic.
func resetFaults(to messages.Start, cfg ResetConfig) error {
	var errs []error
	if o, ok := to.Offset(); ok && o < 0 {
		errs = append(errs, fmt.Errorf("offset %d: %w: the first is 0", o, messages.ErrOffsetOutOfRange))
	}
	for _, p := range cfg.Partitions {
		if p < 0 || p >= messages.MaxPartitions {
			errs = append(errs, fmt.Errorf("partition %d: %w: they are counted from 0 to %d at most", p, messages.ErrNoPartition, messages.MaxPartitions-1))
		}
	}
	return errors.Join(errs...)
}
