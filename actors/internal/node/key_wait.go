package node

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
	// HolderEvery is how often a held id is tried again.
	HolderEvery = 300 * time.Millisecond
	// holderSlack is how much longer than it says a lease may stand: etcd tells whole
	// seconds, and looks for ended leases twice a second.
	holderSlack = 3 * time.Second
)

// HolderWatch judges whether the holder of a lease renews it.
type HolderWatch struct {
	lease clientv3.LeaseID
	left  time.Duration
	ups   int
	until time.Time // it would have ended by now
}

// Sees takes in that a lease has so much left, and reports whether its holder
// lives. One rise is no proof: a new leader of etcd prolongs every lease.
func (w *HolderWatch) Sees(now time.Time, lease clientv3.LeaseID, left time.Duration) (alive bool) {
	switch {
	case lease != w.lease:
		*w = HolderWatch{lease: lease, until: now.Add(left + holderSlack)}
	case left > w.left:
		w.ups++
		w.until = now.Add(left + holderSlack)
	}
	w.left = left
	return w.ups >= 2 || now.After(w.until)
}

// KeyWait says what a registration waits for, for who gives up waiting.
type KeyWait struct {
	holder atomic.Pointer[string]
	sole   atomic.Bool // what is held is the destination, as that of a sole sender
}

// On notes that the keys wait for a holder, which text describes. sole says that
// it holds the destination.
func (w *KeyWait) On(text string, sole bool) {
	w.sole.Store(sole)
	w.holder.Store(&text)
}

// Done notes that nothing is waited for.
func (w *KeyWait) Done() { w.holder.Store(nil) }

// over is the error of who gave up for cause while an id was held, else nil.
func (w *KeyWait) over(cause error) error {
	if holder := w.holder.Load(); holder != nil {
		held := messages.ErrTaken
		if w.sole.Load() {
			held = messages.ErrDestinationTaken
		}
		return fmt.Errorf("%s: %w: %w", *holder, held, cause)
	}
	return nil
}

// PutWhenFree keeps entries. An id that a process held which has ended is waited
// for, as long as its lease stands; that of a live one is messages.ErrTaken.
func (n *Node) PutWhenFree(ctx context.Context, wait *KeyWait, entries ...registry.Entry) error {
	defer wait.holder.Store(nil)
	var watch HolderWatch
	for {
		err := n.Registry.PutAll(ctx, entries)
		var taken *discovery.TakenError
		if !errors.As(err, &taken) || taken.Holder.Lease == 0 {
			return err
		}
		k, _ := n.Keys.Parse(taken.Key)
		if k.Kind == keys.KindSole {
			return err
		}
		left, terr := discovery.LeaseLeft(ctx, n.Etcd.Control, taken.Holder.Lease)
		if terr != nil {
			return errors.Join(err, terr)
		}
		if left > 0 {
			known := watch.lease == taken.Holder.Lease
			if watch.Sees(time.Now(), taken.Holder.Lease, left) {
				return fmt.Errorf("%s renews its lease: %w", HolderOf(k, taken.Holder.Value), err)
			}
			text := fmt.Sprintf("%s is held by %s, for %s at most if that has ended", taken.Key, HolderOf(k, taken.Holder.Value), left)
			wait.holder.Store(&text)
			if !known {
				n.Events.Emit(messages.RegistrationAwaited{Key: taken.Key, Holder: HolderOf(k, taken.Holder.Value), Left: left})
			}
		}
		select {
		case <-time.After(HolderEvery):
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
}

// HolderOf describes who wrote a registration's key.
func HolderOf(k keys.Key, value []byte) string {
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
