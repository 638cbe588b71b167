package schedules

// The command and what its parts share.

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/lines"
)

// Command returns the command schedule.
func Command(a *cli.App) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "schedule",
		Short: "Put a record into a topic again and again",
		Long: `Schedule is about records that are put at times of the clock. Schedules are kept in
etcd, and fired by one of the runtimes that have their topics open: none of them by
this command, but for "schedule run".`,
		Example: `  penstock schedule add nightly reports "30 2 * * 1-5" --time-zone Europe/Berlin --value '{}'
  penstock schedule ls
  penstock schedule pause nightly`,
		Args: cli.Subcommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(lsCommand(a), showCommand(a), addCommand(a), rmCommand(a), runCommand(a), pauseCommand(a), resumeCommand(a))
	return cmd
}

// Schedule is a schedule as JSON.
type Schedule struct {
	Name      string     `json:"name"`
	Topic     string     `json:"topic"`
	Cron      string     `json:"cron"`
	TimeZone  string     `json:"time_zone,omitempty"`
	Missed    string     `json:"missed"`
	MaxMissed int        `json:"max_missed"`
	Paused    bool       `json:"paused"`
	Next      *time.Time `json:"next"` // null: there is none
	Tick      *time.Time `json:"tick"` // null: none was fired
	FiredAt   *time.Time `json:"fired_at"`
	Fired     uint64     `json:"fired"`
	GivenUp   uint64     `json:"given_up"`
	Failed    uint64     `json:"failed"`
	Trouble   string     `json:"trouble,omitempty"`
	Created   time.Time  `json:"created"`
	Changed   time.Time  `json:"changed"`
	// Record is without what a tick adds.
	Record lines.Payload `json:"record"`
}

// view is a schedule as it is printed. What is paused has no next tick.
func view(i *penstock.ScheduleInfo) Schedule {
	m := i.Message()
	v := Schedule{
		Name: i.Name, Topic: i.Topic, Cron: i.Cron, TimeZone: i.TimeZone, Missed: string(i.Missed), MaxMissed: i.MaxMissed, Paused: i.Paused,
		Next: given(i.Next), Tick: given(i.Tick), FiredAt: given(i.Fired), Fired: i.FiredCount, GivenUp: i.MissedCount, Failed: i.FailedCount,
		Trouble: i.Trouble, Created: i.Created, Changed: i.Changed, Record: lines.MessageOf(&m),
	}
	if i.Paused {
		v.Next = nil
	}
	return v
}

func given(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// when is a time as listings show it.
func when(t *time.Time) string {
	if t == nil {
		return "-"
	}
	return t.UTC().Format(time.RFC3339)
}

// complete offers schedules for the only argument.
func complete(a *cli.App) cobra.CompletionFunc {
	return func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return a.CompleteFromRuntime(cmd.Context(), func(ctx context.Context, rt *penstock.Runtime) (names []string, err error) {
			all, err := rt.Schedules().List(ctx)
			for _, s := range all {
				names = append(names, s.Name)
			}
			return names, err
		})
	}
}
