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
	"github.com/penstock-io/penstock/discovery/registry"
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
type idWait struct {
	holder atomic.Pointer[string]
	sole   atomic.Bool // what is held is the destination, as that of a sole sender
}

// over is the error of who gave up for cause while an id was held, else nil.
func (w *idWait) over(cause error) error {
	if holder := w.holder.Load(); holder != nil {
		held := messages.ErrTaken
		if w.sole.Load() {
			held = messages.ErrDestinationTaken
		}
		return fmt.Errorf("%s: %w: %w", *holder, held, cause)
	}
	return nil
}

// putWhenFree keeps entries. An id that a process held which has ended is waited
// for, as long as its lease stands; that of a live one is messages.ErrTaken.
func (e *Engine) putWhenFree(ctx context.Context, wait *idWait, entries ...registry.Entry) error {
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
		left, terr := discovery.LeaseLeft(ctx, e.etcd.Control, taken.Holder.Lease)
		if terr != nil {
			return errors.Join(err, terr)
		}
		if left > 0 {
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

// soleWatch judges the senders that keep another one out, by their leases.
type soleWatch map[clientv3.LeaseID]*holderWatch

// awaitSole waits a while for the senders that keep d out. It is
// messages.ErrDestinationTaken when one of them lives.
func (e *Engine) awaitSole(ctx context.Context, d *Destination, watch soleWatch) error {
	name := d.cfg.Name
	found, err := discovery.GetWith(ctx, e.etcd.Control, e.space.Sole(name), e.space.Senders(name), 100)
	if err != nil {
		return errors.Join(messages.ErrDestinationTaken, fmt.Errorf("ask who sends: %w", err))
	}
	for _, kv := range found {
		if err := e.judgeSole(ctx, d, watch, kv); err != nil {
			return err
		}
	}
	select {
	case <-time.After(holderEvery):
		return nil
	case <-ctx.Done():
		return errors.Join(messages.ErrDestinationTaken, context.Cause(ctx))
	}
}

func (e *Engine) judgeSole(ctx context.Context, d *Destination, watch soleWatch, kv discovery.KV) error {
	lease := kv.Lease
	if lease == 0 || int64(lease) == e.lease.Load() {
		return fmt.Errorf("%s: %w", kv.Key, messages.ErrDestinationTaken)
	}
	left, err := discovery.LeaseLeft(ctx, e.etcd.Control, lease)
	if err != nil {
		return errors.Join(messages.ErrDestinationTaken, err)
	}
	if left == 0 {
		return nil // it goes
	}
	k, _ := e.space.Parse(kv.Key)
	who := holderOf(k, kv.Value)
	w := watch[lease]
	if w == nil {
		w = &holderWatch{}
		watch[lease] = w
		e.hub.emit(messages.RegistrationAwaited{Key: kv.Key, Holder: who, Left: left})
	}
	if w.sees(time.Now(), lease, left) {
		return fmt.Errorf("%s: %s renews its lease: %w", kv.Key, who, messages.ErrDestinationTaken)
	}
	text := fmt.Sprintf("%s is held by %s, for %s at most if that has ended", kv.Key, who, left)
	d.wait.sole.Store(true)
	d.wait.holder.Store(&text)
	return nil
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
