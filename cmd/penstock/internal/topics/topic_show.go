package topics

// What is in topics.

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/inventory"
)

type topicLs struct {
	*cli.App
	json bool
}

func topicLsCommand(a *cli.App) *cobra.Command {
	c := topicLs{App: a}
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List topics",
		Long:  `Ls lists every topic under the prefix, by name.`,
		Example: `  penstock topic ls
  penstock topic ls --json | jq -r '.topics[].name'`,
		Args: cli.Between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *topicLs) run(ctx context.Context) error {
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		infos, err := rt.ListTopics(ctx)
		if err != nil {
			return err
		}
		list := struct {
			Topics []inventory.Topic `json:"topics"`
		}{[]inventory.Topic{}}
		for _, i := range infos {
			list.Topics = append(list.Topics, inventory.TopicOf(i))
		}
		if c.json {
			return cli.PrintJSON(c.Out, list)
		}
		if len(infos) == 0 {
			c.Say("no topics")
		}
		tw := cli.Table(c.Out)
		for _, t := range list.Topics {
			fmt.Fprintln(tw, t)
		}
		return tw.Flush()
	})
}

type topicDescribe struct {
	*cli.App
	json bool
}

func topicDescribeCommand(a *cli.App) *cobra.Command {
	c := topicDescribe{App: a}
	cmd := &cobra.Command{
		Use:   "describe NAME",
		Short: "Show a topic's partitions, groups and lag",
		Long: `Describe shows the topic NAME as of one revision of etcd: for each partition the
first offset that can be read, the next to be written, how many records lie
between and what they take in etcd; then each group with its members and how far
it is.`,
		Example: `  penstock topic describe audit
  penstock topic describe audit --json | jq '.groups[] | {group, lag}'`,
		Args:              cli.Between(1, 1),
		ValidArgsFunction: completeTopic(a, cli.NoCompletion),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	a.Etcd.Add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *topicDescribe) run(ctx context.Context, name string) error {
	if err := topicNamed(name); err != nil {
		return err
	}
	return c.WithRuntime(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		d, err := rt.DescribeTopic(ctx, name)
		if err != nil {
			return err
		}
		v := viewDescription(d)
		if c.json {
			return cli.PrintJSON(c.Out, v)
		}
		return v.print(c.Out)
	})
}

func showTopic(w io.Writer, i penstock.TopicInfo, asJSON bool) error {
	v := inventory.TopicOf(i)
	if asJSON {
		return cli.PrintJSON(w, v)
	}
	tw := cli.Table(w)
	fmt.Fprintln(tw, v)
	return tw.Flush()
}
