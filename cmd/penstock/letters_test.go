package main

// Dead letters, from the shell and back.

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/letters"
	"github.com/penstock-io/penstock/messages"
)

// Promise: dlq lists what was given up and why, and puts it back once, without its marks.
func TestDeadLettersAreRedriven(t *testing.T) {
	t.Parallel()
	createTopic(t, 1)
	putLines(t, 3)
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	rt, err := penstock.Start(ctx, penstock.Etcd(endpoint), penstock.Prefix(prefixOf(t)), penstock.Listen("tcp://127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Stop(context.WithoutCancel(ctx))
	topic, err := rt.Topic(ctx, "audit")
	if err != nil {
		t.Fatal(err)
	}
	sub, err := topic.Subscribe(ctx, "billing", penstock.DeadLetterTopic("letters", 1))
	if err != nil {
		t.Fatal(err)
	}
	if err := sub.Consume(ctx, func(_ context.Context, r penstock.Record) error {
		if r.Offset == 2 {
			stop()
			return nil
		}
		return errors.New("the ledger is closed")
	}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := sub.Unsubscribe(t.Context()); err != nil {
		t.Fatal(err)
	}
	out, _ := perform(t, cli.ExitDone, "", "dlq", "ls", "letters")
	if !strings.Contains(out, "audit:0:0") || !strings.Contains(out, "audit:0:1") || !strings.Contains(out, "the ledger is closed") {
		t.Errorf("ls prints\n%s", out)
	}
	out, _ = perform(t, cli.ExitDone, "", "dlq", "show", "letters", "1")
	var l letters.Letter
	if err := json.Unmarshal([]byte(out), &l); err != nil || l.From.Offset != 1 || l.Group != "billing" || l.Attempts != 1 || !strings.Contains(out, `"value": "2"`) {
		t.Errorf("show prints %s: %v", out, err)
	}
	perform(t, cli.ExitFailed, "", "dlq", "show", "letters", "9")
	perform(t, cli.ExitUsage, "", "dlq", "show", "letters", "x")
	perform(t, cli.ExitUsage, "", "dlq", "show", "letters", "0", "--partition", "1")
	perform(t, cli.ExitUsage, "", "dlq", "redrive", "letters", "--rate", "-1")
	for _, want := range []string{`"redriven": 2`, `"redriven": 0`} {
		if out, _ := perform(t, cli.ExitDone, "", "dlq", "redrive", "letters", "--rate", "1000", "--json"); !strings.Contains(out, want) {
			t.Errorf("redrive prints %s, want %s", out, want)
		}
	}
	out, _ = perform(t, cli.ExitDone, "", "read", "audit", "--from", "3", "--json")
	if n := strings.Count(out, "\n"); n != 2 || strings.Contains(out, "penstock-dead") {
		t.Errorf("%d records are back:\n%s", n, out)
	}
	cut := messages.DeadRecord{Topic: "audit", Offset: 2, Omitted: "value"}
	for r, err := range topic.ReadTo(t.Context(), 0, penstock.FromOffset(2), 3) {
		if err != nil {
			t.Fatal(err)
		}
		putTo(t, rt, "letters", messages.Message{Value: []byte("no letter")}, cut.Mark(messages.Message{Time: time.Unix(0, r.UnixNano)}), cut.Mark(messages.Message{Time: time.Unix(1, 0)}))
	}
	for _, want := range []string{`"deleted": 2`, `"deleted": 0`} {
		if out, _ := perform(t, cli.ExitDone, "", "dlq", "purge", "letters", "--redriven", "--json"); !strings.Contains(out, want) {
			t.Errorf("purge prints %s, want %s", out, want)
		}
	}
	if out, _ := perform(t, cli.ExitDone, "", "dlq", "redrive", "letters", "--json"); !strings.Contains(out, `"redriven": 1,`) || !strings.Contains(out, `"skipped": 2`) {
		t.Errorf("redrive prints %s", out)
	}
	out, _ = perform(t, cli.ExitDone, "", "read", "audit", "--from", "5", "--json")
	if !strings.Contains(out, `"value":"3"`) {
		t.Errorf("in place of a letter without a value its record is put back: %s", out)
	}
	gone := messages.DeadRecord{Topic: "gone", Offset: 2}
	putTo(t, rt, "letters", gone.Mark(messages.Message{Value: []byte("lost")}))
	if out, errs := perform(t, cli.ExitDone, "", "dlq", "redrive", "letters", "--json"); !strings.Contains(out, `"no_topic": 1`) || !strings.Contains(out, `"skipped": 1`) || !strings.Contains(errs, "topic gone, which does not exist") {
		t.Errorf("of a topic that is gone redrive prints %s%s", out, errs)
	}
	if out, _ := perform(t, cli.ExitDone, "", "dlq", "purge", "letters", "--json"); !strings.Contains(out, `"deleted": 3`) {
		t.Errorf("purge prints %s", out)
	}
	out, _ = perform(t, cli.ExitDone, "", "read", "letters", "--json")
	if n := strings.Count(out, "\n"); n != 1 || !strings.Contains(out, "no letter") {
		t.Errorf("after the purge there is\n%s", out)
	}
	_, errs := perform(t, cli.ExitDone, "", "dlq", "ls", "audit")
	if !strings.Contains(errs, "no dead letters") {
		t.Errorf("ls of another topic says %q", errs)
	}
}

func putTo(t *testing.T, rt *penstock.Runtime, topic string, msgs ...penstock.Message) {
	t.Helper()
	to, err := rt.Topic(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range msgs {
		if _, err := to.PutBatch(t.Context(), []penstock.Message{m}); err != nil {
			t.Fatal(err)
		}
	}
}

// Dead letters that do not fit into one transaction go in several, and nobody waits for one
// at the end that was deleted.
func TestLargeAndDeletedDeadLetters(t *testing.T) {
	t.Parallel()
	createTopic(t, 1)
	rt, err := penstock.Start(t.Context(), penstock.Etcd(endpoint), penstock.Prefix(prefixOf(t)), penstock.Listen("tcp://127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Stop(context.WithoutCancel(t.Context()))
	topic, err := rt.CreateTopic(t.Context(), "letters", penstock.TopicConfig{})
	if err != nil {
		t.Fatal(err)
	}
	put := func(size int) {
		t.Helper()
		mark := messages.DeadRecord{Topic: "audit", Group: "billing", Attempts: 1, Cause: "it is large", Time: time.Now()}
		if _, _, err := topic.Put(t.Context(), mark.Mark(penstock.Message{Value: make([]byte, size)})); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		put(900_000)
	}
	if out, _ := perform(t, cli.ExitDone, "", "dlq", "redrive", "letters", "--json"); !strings.Contains(out, `"redriven": 3`) {
		t.Errorf("redrive prints %s", out)
	}
	put(1)
	perform(t, cli.ExitDone, "", "topic", "delete-records", "letters", "0:3")
	if out, _ := perform(t, cli.ExitDone, "", "dlq", "ls", "letters"); strings.Count(out, "audit:") != 3 {
		t.Errorf("ls prints\n%s", out)
	}
	if _, errs := perform(t, cli.ExitFailed, "", "dlq", "show", "letters", "3"); !strings.Contains(errs, "was deleted") {
		t.Errorf("show says %q", errs)
	}
	if out, _ := perform(t, cli.ExitDone, "", "dlq", "redrive", "letters", "--json"); !strings.Contains(out, `"redriven": 0`) {
		t.Errorf("the second redrive prints %s", out)
	}
}
