package actors

// An id that another process holds in etcd. Whether that process lives is seen by
// its lease: what ends, ends in its time; what is renewed lives.

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/discovery"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
)

const (
	// holderEvery is how often a held id is tried again.
	holderEvery = 300 * time.Millisecond
	// holderSlack is how much longer than it says a lease may stand: etcd tells whole
	// seconds, and looks for ended leases twice a second.
	holderSlack = 3 * time.Second
)

// holderWatch judges whether the holder of a lease renews it.
type holderWatch struct {
	lease clientv3.LeaseID
	left  time.Duration
	ups   int
	until time.Time // it would have ended by now
}

// sees takes in that a lease has so much left, and reports whether its holder
// lives. One rise is no proof: a new leader of etcd prolongs every lease.
func (w *holderWatch) sees(now time.Time, lease clientv3.LeaseID, left time.Duration) (alive bool) {
	switch {
	case lease != w.lease:
		*w = holderWatch{lease: lease, until: now.Add(left + holderSlack)}
	case left > w.left:
		w.ups++
		w.until = now.Add(left + holderSlack)
	}
	w.left = left
	return w.ups >= 2 || now.After(w.until)
}

// idWait says what a registration waits for, for who gives up waiting.
type idWait struct{ holder atomic.Pointer[string] }

// over is the error of who gave up for cause while an id was held, else nil.
func (w *idWait) over(cause error) error {
	if holder := w.holder.Load(); holder != nil {
		return fmt.Errorf("%s: %w: %w", *holder, messages.ErrTaken, cause)
	}
	return nil
}

// putWhenFree keeps entries. An id that a process held which has ended is waited
// for, as long as its lease stands; that of a live one is messages.ErrTaken.
func (e *Engine) putWhenFree(ctx context.Context, wait *idWait, entries ...discovery.Entry) error {
	defer wait.holder.Store(nil)
	var watch holderWatch
	for {
		err := e.keeper.PutAll(ctx, entries)
		var taken *discovery.TakenError
		if !errors.As(err, &taken) || taken.Holder.Lease == 0 {
			return err
		}
		k, _ := e.space.Parse(taken.Key)
		if k.Kind == keys.KindSole {
			return err
		}
		resp, terr := e.etcd.Control.TimeToLive(ctx, taken.Holder.Lease)
		if terr != nil {
			return errors.Join(err, discovery.Classify("ask how long its lease stands", terr))
		}
		if resp.TTL > 0 {
			left := time.Duration(resp.TTL) * time.Second
			known := watch.lease == taken.Holder.Lease
			if watch.sees(time.Now(), taken.Holder.Lease, left) {
				return fmt.Errorf("%s renews its lease: %w", holderOf(k, taken.Holder.Value), err)
			}
			text := fmt.Sprintf("%s is held by %s, for %s at most if that has ended", taken.Key, holderOf(k, taken.Holder.Value), left)
			wait.holder.Store(&text)
			if !known {
				e.hub.emit(messages.RegistrationAwaited{Key: taken.Key, Holder: holderOf(k, taken.Holder.Value), Left: left})
			}
		}
		select {
		case <-time.After(holderEvery):
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// holderOf describes who wrote a registration's key.
func holderOf(k keys.Key, value []byte) string {
	host := ""
	switch k.Kind {
	case keys.KindSender:
		m := &pb.Sender{}
		_ = proto.Unmarshal(value, m) // what does not decode has no host
		host = m.Host
	case keys.KindMember:
		m := &pb.Member{}
		_ = proto.Unmarshal(value, m)
		host = m.Host
	case keys.KindConsumerMember:
		m := &pb.ConsumerMember{}
		_ = proto.Unmarshal(value, m)
		host = m.Host
	}
	if host == "" {
		return "another process"
	}
	return fmt.Sprintf("a process on host %q", host)
}
