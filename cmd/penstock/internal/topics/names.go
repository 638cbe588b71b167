package topics

// What the command line names, judged before anybody is asked.

import (
	"errors"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
)

// topicNamed judges the name of a topic, and those of groups of it.
func topicNamed(topic string, groups ...string) error {
	errs := []error{keys.ValidateTopic(topic)}
	for _, g := range groups {
		errs = append(errs, keys.ValidateName("group", g))
	}
	return errors.Join(errs...)
}

// partitionsNumbered judges the value of --partitions.
func partitionsNumbered(partitions []int) error {
	seen := make(map[int]bool)
	for _, p := range partitions {
		if p < 0 || p >= messages.MaxPartitions {
			return cli.Usagef("--partitions %d: want numbers from 0 to %d", p, messages.MaxPartitions-1)
		}
		if seen[p] {
			return cli.Usagef("--partitions: %d is named twice", p)
		}
		seen[p] = true
	}
	return nil
}
