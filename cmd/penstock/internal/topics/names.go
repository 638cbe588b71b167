package topics

// What the command line names: judged before anybody is asked, read, and offered at the
// tab key.

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
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

// startHelp is for the flags that take a start.
const startHelp = "earliest, latest, an offset, a time (RFC 3339), or how long ago (such as 90s or 2h)"

// parseStart reads the value of a flag; now is what a duration is before.
func parseStart(flag, s string, now time.Time) (penstock.StartAt, error) {
	switch s {
	case "earliest":
		return penstock.FromEarliest(), nil
	case "latest":
		return penstock.FromLatest(), nil
	}
	if offset, err := strconv.ParseInt(s, 10, 64); err == nil && offset >= 0 {
		return penstock.FromOffset(offset), nil
	}
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return penstock.FromTime(t), nil
	}
	if ago, err := time.ParseDuration(s); err == nil && !strings.HasPrefix(s, "-") {
		return penstock.FromTime(now.Add(-ago)), nil
	}
	return penstock.StartAt{}, cli.Usagef("%s %q: want %s", flag, s, startHelp)
}

// completeTopic offers topics for the first argument; next completes the rest.
func completeTopic(a *cli.App, next cobra.CompletionFunc) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return next(cmd, args, begun)
		}
		return a.CompleteFromRuntime(cmd.Context(), func(ctx context.Context, rt *penstock.Runtime) (names []string, err error) {
			topics, err := rt.ListTopics(ctx)
			for _, t := range topics {
				names = append(names, t.Name)
			}
			return names, err
		})
	}
}

// completeGroup offers the groups of the topic before it.
func completeGroup(a *cli.App) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) != 1 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.CompleteFromRuntime(cmd.Context(), func(ctx context.Context, rt *penstock.Runtime) ([]string, error) {
			return rt.ListConsumerGroups(ctx, args[0])
		})
	}
}
