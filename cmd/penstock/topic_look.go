package main

// What is in topics.

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/penstock-io/penstock"
)

type topicLs struct {
	*app
	json bool
}

func (a *app) topicLsCommand() *cobra.Command {
	c := topicLs{app: a}
	cmd := &cobra.Command{
		Use:   "ls",
		Short: "List topics",
		Long:  `Ls lists every topic under the prefix, by name.`,
		Example: `  penstock topic ls
  penstock topic ls --json | jq -r '.topics[].name'`,
		Args: between(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.run(cmd.Context()) },
	}
	a.etcd.add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *topicLs) run(ctx context.Context) error {
	return c.visit(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		infos, err := rt.ListTopics(ctx)
		if err != nil {
			return err
		}
		list := struct {
			Topics []topicView `json:"topics"`
		}{[]topicView{}}
		for _, i := range infos {
			list.Topics = append(list.Topics, viewTopic(i))
		}
		if c.json {
			return printJSON(c.out, list)
		}
		if len(infos) == 0 {
			c.say("no topics")
		}
		tw := columns(c.out)
		for _, t := range list.Topics {
			fmt.Fprintln(tw, t)
		}
		return tw.Flush()
	})
}

type topicDescribe struct {
	*app
	json bool
}

func (a *app) topicDescribeCommand() *cobra.Command {
	c := topicDescribe{app: a}
	cmd := &cobra.Command{
		Use:   "describe NAME",
		Short: "Show a topic's partitions, groups and lag",
		Long: `Describe shows the topic NAME as of one revision of etcd: for each partition the
first offset that can be read, the next to be written, how many records lie
between and what they take in etcd; then each group with its members and how far
it is.`,
		Example: `  penstock topic describe audit
  penstock topic describe audit --json | jq '.groups[] | {group, lag}'`,
		Args:              between(1, 1),
		ValidArgsFunction: a.completeTopic(nothing),
		RunE:              func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), args[0]) },
	}
	a.etcd.add(cmd.Flags())
	cmd.Flags().BoolVar(&c.json, "json", false, "print one object")
	return cmd
}

func (c *topicDescribe) run(ctx context.Context, name string) error {
	if err := topicNamed(name); err != nil {
		return err
	}
	return c.visit(ctx, func(ctx context.Context, rt *penstock.Runtime) error {
		d, err := rt.DescribeTopic(ctx, name)
		if err != nil {
			return err
		}
		v := viewDescription(d)
		if c.json {
			return printJSON(c.out, v)
		}
		return v.print(c.out)
	})
}

func (a *app) showTopic(i penstock.TopicInfo, asJSON bool) error {
	v := viewTopic(i)
	if asJSON {
		return printJSON(a.out, v)
	}
	tw := columns(a.out)
	fmt.Fprintln(tw, v)
	return tw.Flush()
}
