package topics_test

// Promise: a record that is rejected, or failed too often, is in the dead-letter topic and
// acked, both or neither, with headers that say where it is from; its neighbours are handled.

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/penstock-io/penstock/actors/internal/enginetest"
	"github.com/penstock-io/penstock/actors/topics"
	"github.com/penstock-io/penstock/actors/topics/groups"
	"github.com/penstock-io/penstock/messages"
)

func TestDeadLetterTopic(t *testing.T) {
	for name, cfg := range map[string]groups.Config{
		"one after the other": {},
		"by key":              {Concurrency: 4},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := enginetest.Within(t)
			e := enginetest.NewSpace(t).Begin(t)
			topic, err := e.CreateTopic(ctx, "audit", messages.TopicConfig{}, topics.ProducerConfig{})
			if err != nil {
				t.Fatal(err)
			}
			var msgs []messages.Message
			for i := range 20 {
				msgs = append(msgs, messages.Message{Key: []byte{byte('a' + i%5)}, Value: []byte{byte(i)}, Headers: []messages.Header{{Name: "mine", Value: []byte("kept")}}})
			}
			if _, err := topic.PutBatch(ctx, msgs); err != nil {
				t.Fatal(err)
			}
			cfg.Group, cfg.DeadTopic, cfg.MaxAttempts = "billing", "letters", 2
			cfg.Retry = messages.Retry{Min: time.Millisecond, Max: time.Millisecond, Factor: 1}
			sub, err := topic.Subscribe(ctx, cfg)
			if err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			handled := map[byte]int{}
			done := make(chan struct{})
			consuming, stop := context.WithCancel(ctx)
			defer stop()
			var running sync.WaitGroup
			running.Go(func() {
				_ = sub.Consume(consuming, func(_ context.Context, r messages.Record) error {
					switch r.Value[0] {
					case 3:
						return messages.ErrReject
					case 7:
						return errors.New("no")
					}
					mu.Lock()
					defer mu.Unlock()
					handled[r.Value[0]]++
					if len(handled) == 18 {
						close(done)
					}
					return nil
				})
			})
			enginetest.Await(t, "the neighbours", done)
			if err := sub.Unsubscribe(ctx); err != nil {
				t.Fatal(err)
			}
			running.Wait()
			letters, err := e.Topic(ctx, "letters", topics.ProducerConfig{})
			if err != nil {
				t.Fatal(err)
			}
			var got []byte
			for r, err := range letters.Read(ctx, 0, messages.Earliest()) {
				if err != nil {
					t.Fatal(err)
				}
				d, ok := messages.DeadRecordOf(r.Payload)
				want := 1
				if r.Value[0] == 7 {
					want = 2
				}
				if mine, _ := r.Header("mine"); !ok || d.Topic != "audit" || d.Offset != int64(r.Value[0]) || d.Group != "billing" || d.Attempts != want || d.Cause == "" || string(mine) != "kept" {
					t.Errorf("record %d: %+v, %q", r.Value[0], d, mine)
				}
				if m := messages.Unmarked(r.Message()); len(m.Headers) != 1 {
					t.Errorf("%d headers are left", len(m.Headers))
				}
				if got = append(got, r.Value[0]); len(got) == 2 {
					break
				}
			}
			slices.Sort(got)
			if !slices.Equal(got, []byte{3, 7}) {
				t.Errorf("the dead letters are %v", got)
			}
			g, err := e.DescribeConsumerGroup(ctx, "audit", "billing")
			if err != nil || g.Partitions[0].Committed != 20 {
				t.Errorf("%+v, %v", g.Partitions, err)
			}
		})
	}
}

// Promise: an outage of what handles the records pauses the group, in place of moving the
// topic into the dead letters.
func TestPauseAfterDeadLetters(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	topic, err := e.CreateTopic(ctx, "audit", messages.TopicConfig{}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	const records, inARow = 500, 5
	var msgs []messages.Message
	for i := range records {
		msgs = append(msgs, messages.Message{Value: []byte{byte(i)}})
	}
	if _, err := topic.PutBatch(ctx, msgs); err != nil {
		t.Fatal(err)
	}
	sub, err := topic.Subscribe(ctx, groups.Config{
		Group: "billing", DeadTopic: "letters", MaxAttempts: 1, Breaker: inARow, BreakerPause: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	consuming, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() {
		_ = sub.Consume(consuming, func(_ context.Context, r messages.Record) error {
			if r.Offset < 3 {
				return nil
			}
			return errors.New("the database is away")
		})
	})
	enginetest.Until(t, "the pause", func() bool {
		g, err := e.DescribeConsumerGroup(ctx, "audit", "billing")
		return err == nil && !g.PausedUntil.IsZero()
	})
	if n := sub.Stats().DeadLettered; n < inARow || n > records/2 {
		t.Errorf("%d dead letters before the pause", n)
	}
}

// Promise: a record that fills its topic's limit becomes a dead letter all the same, which
// says what it had no room for; so does one with a dead letter that fits only just.
func TestDeadLettersOfLargeRecords(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	topic, err := e.CreateTopic(ctx, "audit", messages.TopicConfig{}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	const limit = 4 << 10
	if _, err := e.CreateTopic(ctx, "letters", messages.TopicConfig{MaxRecordBytes: limit}, topics.ProducerConfig{}); err != nil {
		t.Fatal(err)
	}
	text := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	mine := func(n int) []messages.Header { return []messages.Header{{Name: "mine", Value: text(n)}} }
	records := []struct {
		m       messages.Message
		omitted string
	}{
		{messages.Message{Key: []byte("k"), Value: text(10), Headers: mine(10)}, ""},
		{messages.Message{Key: []byte("k"), Value: text(limit - 800), Headers: mine(10)}, ""},
		{messages.Message{Key: []byte("k"), Value: text(limit - 800), Headers: mine(500)}, "headers"},
		{messages.Message{Key: []byte("k"), Value: text(limit), Headers: mine(10)}, "value"},
		{messages.Message{Key: []byte("k"), Value: text(limit), Headers: mine(limit)}, "headers,value"},
		{messages.Message{Key: text(limit), Value: text(limit)}, "key,headers,value"},
		{messages.Message{Value: text(messages.MaxRecordBytes - 20)}, "value"},
		{messages.Message{Value: text(10), Headers: make([]messages.Header, messages.MaxHeaders)}, "headers"},
	}
	h := records[len(records)-1].m.Headers
	for i := range h {
		h[i].Name = "h"
	}
	for _, r := range records {
		if _, err := topic.PutBatch(ctx, []messages.Message{r.m}); err != nil {
			t.Fatal(err)
		}
	}
	sub, err := topic.Subscribe(ctx, groups.Config{Group: "billing", DeadTopic: "letters", MaxAttempts: 1, Retry: messages.Retry{Min: time.Millisecond, Max: time.Millisecond, Factor: 1}})
	if err != nil {
		t.Fatal(err)
	}
	consuming, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	running.Go(func() {
		_ = sub.Consume(consuming, func(context.Context, messages.Record) error {
			return errors.New("no " + strings.Repeat("é", 2000))
		})
	})
	letters, err := e.Topic(ctx, "letters", topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for r, err := range letters.Read(ctx, 0, messages.Earliest()) {
		if err != nil {
			t.Fatal(err)
		}
		want := records[n]
		d, ok := messages.DeadRecordOf(r.Payload)
		if !ok || d.Offset != int64(n) || d.Omitted != want.omitted || !strings.HasPrefix(d.Cause, "no é") || !utf8.ValidString(d.Cause) {
			t.Errorf("record %d: %+v", n, d)
		}
		for part, same := range map[string]bool{
			"key": bytes.Equal(r.Key, want.m.Key), "value": bytes.Equal(r.Value, want.m.Value),
			"headers": len(messages.Unmarked(r.Message()).Headers) == len(want.m.Headers),
		} {
			if !same && !strings.Contains(want.omitted, part) {
				t.Errorf("record %d: its %s is another", n, part)
			}
		}
		if n++; n == len(records) {
			break
		}
	}
}

// Promise: dead letters in a row do not cut a longer pause short.
func TestLongerPauseStays(t *testing.T) {
	ctx := enginetest.Within(t)
	e := enginetest.NewSpace(t).Begin(t)
	events := e.Events(ctx)
	topic, err := e.CreateTopic(ctx, "audit", messages.TopicConfig{}, topics.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := topic.PutBatch(ctx, []messages.Message{{Value: []byte("no")}}); err != nil {
		t.Fatal(err)
	}
	sub, err := topic.Subscribe(ctx, groups.Config{Group: "billing", DeadTopic: "letters", MaxAttempts: 1, Breaker: 1, BreakerPause: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	consuming, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	begun, paused := make(chan struct{}), make(chan struct{})
	running.Go(func() {
		_ = sub.Consume(consuming, func(context.Context, messages.Record) error {
			close(begun)
			<-paused
			return errors.New("the database is away")
		})
	})
	enginetest.Await(t, "the record", begun)
	until := time.Now().Add(10 * time.Hour).Truncate(time.Second).UTC()
	if err := e.PauseConsumerGroup(ctx, "audit", "billing", until); err != nil {
		t.Fatal(err)
	}
	for event := range events {
		switch is := event.(type) {
		case messages.GroupPaused:
			close(paused)
		case messages.DeadLettersRepeated:
			if !is.Until.Equal(until) {
				t.Errorf("the pause ends at %v, want %v", is.Until, until)
			}
			return
		}
	}
	t.Error("no event tells of it")
}
