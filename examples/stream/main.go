// Command stream keeps a topic flowing: a producer puts a record every now and
// then, two members of a group share the partitions and commit after every
// hundred records. The first Ctrl-C makes one member leave; the other takes its
// partitions over, and nothing is handled twice. The second one ends the
// program in order, and so does -count.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
)

const (
	topicName = "stream"
	groupName = "readers"
	// endTime is what ending in order may take.
	endTime = 30 * time.Second
)

func main() {
	partitions := flag.Int("partitions", 4, "partitions of the topic")
	every := flag.Duration("every", 2*time.Millisecond, "time between records")
	count := flag.Int64("count", 0, "end after so many records; 0: when interrupted twice")
	flag.Parse()

	interrupts := make(chan os.Signal, 2)
	signal.Notify(interrupts, os.Interrupt, syscall.SIGTERM)
	if err := run(interrupts, *partitions, *every, *count); err != nil {
		log.Fatal(err)
	}
}

func run(interrupts <-chan os.Signal, partitions int, every time.Duration, count int64) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	etcd, err := embedded.Start(ctx, "")
	if err != nil {
		return err
	}
	defer etcd.Close()

	// Each party has a runtime of its own, as if it were a process.
	rt, err := penstock.Start(ctx, penstock.EtcdConfig(etcd.Config()))
	if err != nil {
		return err
	}
	topic, err := rt.CreateTopic(ctx, topicName, penstock.TopicConfig{Partitions: partitions})
	if err != nil {
		return err
	}
	handled := newLedger()
	failed := make(chan error, 2)
	var members []*member
	for _, name := range []string{"one", "two"} {
		m, err := join(ctx, etcd, name, handled, failed)
		if err != nil {
			return err
		}
		members = append(members, m)
	}
	log.Printf("from outside: penstock group describe %s %s --etcd %s", topicName, groupName, etcd.Endpoint())

	putting, stopPutting := context.WithCancel(ctx)
	defer stopPutting()
	produced := make(chan production, 1)
	go func() { produced <- produce(putting, topic, every, count) }()
	for {
		select {
		case p := <-produced:
			if p.err != nil {
				return p.err
			}
			return end(rt, members, handled, p.put)
		case err := <-failed:
			return err
		case <-interrupts:
			if len(members) == 1 {
				stopPutting()
				continue
			}
			if err := members[0].leave(); err != nil {
				return err
			}
			members = members[1:]
		}
	}
}

// production is what became of the producer.
type production struct {
	put int64
	err error
}

// produce puts records until ctx ends or there are count of them, and waits
// until etcd has them.
func produce(ctx context.Context, topic *penstock.Topic, every time.Duration, count int64) production {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	put := int64(0)
	for ctx.Err() == nil && (count == 0 || put < count) {
		m := penstock.Message{Key: fmt.Appendf(nil, "key %d", put%100), Value: fmt.Appendf(nil, "record %d", put)}
		// It does not wait for etcd: what comes while an append is on its way
		// rides in the next.
		if err := topic.PutAsync(ctx, m, nil); err != nil {
			if ctx.Err() != nil {
				break
			}
			return production{put, err}
		}
		put++
		select {
		case <-ticker.C:
		case <-ctx.Done():
		}
	}
	flushing, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
	defer cancel()
	return production{put, topic.Flush(flushing)}
}

// end waits until everything that was put is handled, and has everybody leave.
func end(rt *penstock.Runtime, members []*member, handled *ledger, put int64) error {
	ctx, cancel := context.WithTimeout(context.Background(), endTime)
	defer cancel()
	if err := handled.await(ctx, put); err != nil {
		return fmt.Errorf("handled %d of %d records: %w", handled.total(), put, err)
	}
	for _, m := range members {
		if err := m.leave(); err != nil {
			return err
		}
	}
	group, err := rt.DescribeConsumerGroup(ctx, topicName, groupName)
	if err != nil {
		return err
	}
	fmt.Printf("put %d, handled %d, out of turn %d, lag %d\n", put, handled.total(), handled.outOfTurn(), group.Lag)
	return rt.Stop(ctx)
}
