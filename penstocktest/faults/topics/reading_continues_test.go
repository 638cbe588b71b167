package topics_test

// Reading continues: news that were missed, requests that were refused, batches
// that are gone or spoilt, records that failed.

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// follow reads a partition from its beginning until the test ends.
func follow(t *testing.T, topic *penstock.Topic, partition int) <-chan penstock.Record {
	ctx := harness.Context(t)
	came := make(chan penstock.Record, 100)
	go func() {
		defer close(came)
		for rec, err := range topic.Read(ctx, partition, penstock.FromEarliest()) {
			if err != nil {
				if ctx.Err() == nil {
					t.Errorf("read: %v", err)
				}
				return
			}
			came <- rec
		}
	}()
	return came
}

// Promise: records that nobody here heard of are found as soon as something
// shows that there are some, also when just then others are being read.
func TestReaderFindsWhatItMissedWhileItRead(t *testing.T) {
	ns := penstocktest.Space(t)
	writer := harness.Runtime(t, ns)
	reader, on := meetTapped(t, ns)
	topic := makeTopic(t, writer, theTopic, 2)
	put := func(partition, id int) {
		t.Helper()
		if _, err := topic.PutTo(harness.Context(t), partition, harness.Numbered(id)); err != nil {
			t.Fatal(err)
		}
	}
	there := openTopic(t, reader, theTopic)
	for id := range 3 {
		if _, err := topic.PutTo(harness.Context(t), 0, bulky(id)); err != nil {
			t.Fatal(err)
		}
	}
	put(1, 0)
	beside := follow(t, there, 1)
	harness.Await(t, "the other partition's first", beside)
	put(1, 1)
	harness.Await(t, "the other partition's next, so the watch is open", beside)

	held, release := on.holdOnce(t, func(r request) bool { return r.reads("/body/0000/") })
	came := follow(t, there, 0)
	harness.Await(t, "the read", held)
	space := keys.Space(ns)
	lost := space.IndexEntry(topic.Info().ID, 0, 3)
	missed := make(chan struct{}, 1)
	on.news(func(ev *mvccpb.Event) bool {
		if string(ev.Kv.Key) != lost {
			return true
		}
		missed <- struct{}{}
		return false
	})
	put(0, 3)
	harness.Await(t, "the news that are lost", missed)
	put(0, 4) // shows that one is missing
	put(1, 2) // and this one comes after it
	harness.Await(t, "the other partition's", beside)
	release()
	for offset := range int64(5) {
		if rec := harness.Await(t, "the records", came); rec.Offset != offset {
			t.Errorf("offset %d came, want %d", rec.Offset, offset)
		}
	}
}

// Promise: a right that is missing for a while delays reading, and is not taken
// for damage.
func TestReadingContinuesAfterARefusedRead(t *testing.T) {
	ns := penstocktest.Space(t)
	writer := harness.Runtime(t, ns)
	reader, on := meetTapped(t, ns)
	if _, err := makeTopic(t, writer, theTopic, 1).PutBatch(harness.Context(t), []penstock.Message{bulky(0), bulky(1), bulky(2)}); err != nil {
		t.Fatal(err)
	}
	events := penstocktest.Record(t, reader)
	there := openTopic(t, reader, theTopic)
	failed := on.failOnce(codes.PermissionDenied, "etcdserver: permission denied", func(r request) bool { return r.reads("/body/") })
	sub := subscribe(t, there, theGroup)
	polled(t, sub, 3)
	if !failed() {
		t.Fatal("no request was refused")
	}
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.ReadDelayed) bool { return errors.Is(e.Err, penstock.ErrDenied) })
	for _, e := range events.Events() {
		if e, ok := e.(messages.BatchCorrupt); ok {
			t.Errorf("%+v", e)
		}
	}
	unsubscribe(t, sub)
}

// Promise: Seek is answered, whatever becomes of its partition meanwhile.
func TestSeekIsAnsweredThoughItsPartitionIsLost(t *testing.T) {
	ns := penstocktest.Space(t)
	rt, on := meetTapped(t, ns)
	topic := makeTopic(t, rt, theTopic, 1)
	newAccount().put(t, topic, 0, 1)
	sub := subscribe(t, topic, theGroup)
	polled(t, sub, 1)
	events := penstocktest.Record(t, rt)
	held, release := on.holdOnce(t, func(r request) bool { return r.reads("/hint/") })
	answer := make(chan error, 1)
	go func() { answer <- sub.Seek(context.Background(), 0, penstock.FromLatest()) }()
	harness.Await(t, "where it goes to is looked up", held)
	harness.RemoveKey(t, harness.Client(t), keys.Space(ns).Claim(topic.Info().ID, theGroup, 0))
	penstocktest.WaitEvent[messages.PartitionLost](t, events, harness.Patience, nil)
	if err := harness.Await(t, "Seek", answer); !errors.Is(err, penstock.ErrFenced) {
		t.Errorf("seek: %v, want ErrFenced", err)
	}
	release()
	penstocktest.WaitEvent[messages.PartitionClaimed](t, events, harness.Patience, nil)
	unsubscribe(t, sub)
}

// Promise: a group whose position says only from where on to look continues from
// there, though the log begins later now.
func TestGroupContinuesWhereTheLogWasTrimmed(t *testing.T) {
	ns := penstocktest.Space(t)
	rt, on := meetTapped(t, ns)
	topic, acct := makeTopic(t, rt, theTopic, 1), newAccount()
	for id := range 6 { // a batch each
		acct.put(t, topic, id, id+1)
	}
	committed, err := proto.Marshal(&pb.Committed{Offset: 4})
	if err != nil {
		t.Fatal(err)
	}
	c, id := harness.Client(t), topic.Info().ID
	harness.OverwriteKey(t, c, keys.Space(ns).LogStart(id, 0), keys.Offset(3))
	harness.OverwriteKey(t, c, keys.Space(ns).Committed(id, theGroup, 0), string(committed))
	before := on.sent.Load()
	sub := subscribe(t, openTopic(t, rt, theTopic), theGroup)
	if rec := polled(t, sub, 1)[0]; rec.Offset != 4 {
		t.Errorf("the first record is that at %d, want 4", rec.Offset)
	}
	if n := on.sent.Load() - before; n > 100 {
		t.Errorf("it took %d requests", n)
	}
	unsubscribe(t, sub)
}

// Promise: what is read ahead is bounded in the bytes that it takes here, not in
// those that etcd sends.
func TestReadAheadIsBoundedUnpacked(t *testing.T) {
	const partitions, batches, size, limit = 4, 8, 200 << 10, 512 << 10
	ns := penstocktest.Space(t)
	topic := makeTopic(t, harness.Runtime(t, ns), theTopic, partitions)
	m := penstock.Message{Value: bytes.Repeat([]byte("a"), size)} // packs to next to nothing
	for p := range partitions {
		for range batches {
			if _, err := topic.PutTo(harness.Context(t), p, m); err != nil {
				t.Fatal(err)
			}
		}
	}
	sub := subscribe(t, openTopic(t, harness.Runtime(t, ns), theTopic), theGroup, penstock.MaxFetched(limit))
	const most = limit + partitions*(size+1<<10)
	check := func() int {
		n := sub.Stats().FetchedBytes
		if n > most {
			t.Fatalf("%d bytes are read ahead, want at most %d", n, most)
		}
		return n
	}
	harness.Eventually(t, "as much as may be is read ahead", func() bool { return check() >= limit-size })
	for range partitions * batches {
		polled(t, sub, 1)
		check()
	}
	unsubscribe(t, sub)
}

// Promise: what is damaged in the index hides nothing that comes before it.
func TestReadsUpToADamagedIndexEntry(t *testing.T) {
	const damaged = 7
	for name, damage := range map[string]func(t *testing.T, key string){
		"gone":            func(t *testing.T, key string) { harness.RemoveKey(t, harness.Client(t), key) },
		"does not decode": func(t *testing.T, key string) { harness.OverwriteKey(t, harness.Client(t), key, "\xff\xff") },
	} {
		t.Run(name, func(t *testing.T) {
			ns := penstocktest.Space(t)
			topic, acct := makeTopic(t, harness.Runtime(t, ns), theTopic, 1), newAccount()
			for id := range 10 { // a batch each
				acct.put(t, topic, id, id+1)
			}
			damage(t, keys.Space(ns).IndexEntry(topic.Info().ID, 0, damaged))
			reader := harness.Runtime(t, ns)
			events := penstocktest.Record(t, reader)
			there := openTopic(t, reader, theTopic)
			n := 0
			for _, err := range there.Read(harness.Context(t), 0, penstock.FromEarliest()) {
				if err != nil {
					if !errors.Is(err, penstock.ErrCorrupt) {
						t.Errorf("after %d records: %v, want ErrCorrupt", n, err)
					}
					break
				}
				n++
			}
			if n != damaged {
				t.Errorf("%d records could be read, want %d", n, damaged)
			}
			sub := subscribe(t, there, theGroup)
			polled(t, sub, damaged)
			for range 2 { // the Read's and the group's
				penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.BatchCorrupt) bool { return e.Offset == damaged })
			}
			unsubscribe(t, sub)
		})
	}
}

// Promise: a record whose handler failed is handed out again, and so is what was
// put aside by Pause, though nobody appends anything.
func TestRecordsComeAgainAtTheEndOfAPartition(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	topic := makeTopic(t, rt, theTopic, 1)
	newAccount().put(t, topic, 0, 2)
	t.Run("after a failure", func(t *testing.T) {
		sub := subscribe(t, topic, "fails", penstock.RecordRetry(time.Millisecond, time.Millisecond))
		var handled atomic.Int64
		both := make(chan struct{}, 1)
		ctx, cancel := context.WithCancel(harness.Context(t))
		ended := make(chan error, 1)
		go func() {
			ended <- sub.Consume(ctx, func(_ context.Context, r penstock.Record) error {
				if handled.Add(1) == 1 {
					return errors.New("not this time")
				}
				if r.Offset == 1 {
					both <- struct{}{}
				}
				return nil
			})
		}()
		harness.Await(t, "both records", both)
		if n := handled.Load(); n != 3 {
			t.Errorf("%d handlings, want 3", n)
		}
		cancel()
		if err := harness.Await(t, "Consume", ended); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		unsubscribe(t, sub)
	})
	t.Run("after Pause", func(t *testing.T) {
		sub := subscribe(t, topic, "pauses")
		harness.Eventually(t, "they are read ahead", func() bool { return sub.Stats().FetchedBytes > 0 })
		sub.Pause()
		sub.Resume()
		if recs := polled(t, sub, 2); recs[0].Offset != 0 || recs[1].Offset != 1 {
			t.Errorf("%+v", recs)
		}
		unsubscribe(t, sub)
	})
}

// Promise: who looked at a topic before it was deleted and made again ends
// nothing of the new one.
func TestStaleLookEndsNothing(t *testing.T) {
	for name, open := range map[string]func(context.Context, *penstock.Runtime) (*penstock.Topic, error){
		"Topic": func(ctx context.Context, rt *penstock.Runtime) (*penstock.Topic, error) {
			return rt.Topic(ctx, theTopic)
		},
		"EnsureTopic": func(ctx context.Context, rt *penstock.Runtime) (*penstock.Topic, error) {
			return rt.EnsureTopic(ctx, theTopic, penstock.TopicConfig{Partitions: 1})
		},
	} {
		t.Run(name, func(t *testing.T) {
			ns := penstocktest.Space(t)
			rt, on := meetTapped(t, ns)
			other := harness.Runtime(t, ns)
			makeTopic(t, other, theTopic, 1)
			looked, goOn := make(chan struct{}, 1), make(chan struct{})
			var once atomic.Bool
			on.requests(func(r request) error {
				err := r.send()
				if r.reads(strings.TrimPrefix(keys.Space(ns).Topic(theTopic), ns)) && once.CompareAndSwap(false, true) {
					looked <- struct{}{} // and is slow to hear of it
					<-goOn
				}
				return err
			})
			type opening struct {
				topic *penstock.Topic
				err   error
			}
			late, ctx := make(chan opening, 1), harness.Context(t)
			go func() {
				topic, err := open(ctx, rt)
				late <- opening{topic, err}
			}()
			harness.Await(t, "the look", looked)
			if err := other.DeleteTopic(ctx, theTopic); err != nil {
				t.Fatal(err)
			}
			makeTopic(t, other, theTopic, 1)
			topic, acct := openTopic(t, rt, theTopic), newAccount()
			sub := subscribe(t, topic, theGroup)
			acct.put(t, topic, 0, 1)
			polled(t, sub, 1)
			close(goOn)
			got := harness.Await(t, "who came late", late)
			switch {
			case got.err == nil && got.topic.Info().ID != topic.Info().ID:
				t.Errorf("it answered topic %s, which is gone; %s lives", got.topic.Info().ID, topic.Info().ID)
			case got.err != nil && (name == "EnsureTopic" || !errors.Is(got.err, penstock.ErrTopicDeleted)):
				t.Error(got.err)
			}
			acct.put(t, topic, 1, 2)
			polled(t, sub, 1)
			unsubscribe(t, sub)
		})
	}
}
