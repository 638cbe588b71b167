package commitlog

// Partitions that refuse what is too much: how an appender knows that one is full. Where
// the log ends, and how large it is up to there, each append compares anyway; so only
// where it begins has to be known besides. That only moves forward, so an old knowledge
// refuses too early, and is refreshed before it does.

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// floor is where a partition begins, as of some moment.
type floor struct {
	// read is when; zero for never, and while the topic refuses nothing.
	read time.Time
	// start is the first offset, bytes the LogBytes of the batches before it.
	start, bytes int64
}

// isAbove reports whether the floor is of no use for an end: it was never looked for, or
// the sizes began again, as they do in a partition of which nothing was left.
func (f floor) isAbove(end format.LogEnd) bool {
	return f.read.IsZero() || end.Bytes < f.bytes || end.Offset < f.start
}

// floorEvery is how often the floor is looked for while appends are refused.
const floorEvery = 50 * time.Millisecond

// holds are the guards that the log does not begin before the floor: that of an etcd
// which was set back may.
func (f floor) holds(p *Partition) []clientv3.Cmp {
	if f.read.IsZero() || f.start == 0 {
		return nil
	}
	return []clientv3.Cmp{clientv3.Compare(clientv3.Value(p.startKey()), ">", keys.Offset(f.start-1))}
}

// goBehind makes the end that is known the place of s, which has to go there and fit in.
func (a *Appender) goBehind(ctx context.Context, s *format.Sealed) error {
	if s.Only != nil && !s.Only.Is(a.end) {
		return format.ErrBehind
	}
	if err := a.fits(ctx, s); err != nil {
		return err
	}
	s.GoBehind(a.end)
	return nil
}

// fits returns messages.ErrTopicFull when the partition has no room for s and refuses
// what is too much.
func (a *Appender) fits(ctx context.Context, s *format.Sealed) error {
	if a.cfg.Info == nil {
		return nil
	}
	cfg := &a.cfg.Info().Config
	if cfg.Discard != messages.DiscardNew {
		a.floor = floor{}
		return nil
	}
	why := a.floor.refuses(cfg, a.end, s)
	if why != "" || a.floor.isAbove(a.end) {
		if time.Since(a.floor.read) > floorEvery || a.floor.isAbove(a.end) {
			if err := a.lookDown(ctx); err != nil {
				return err
			}
		}
		why = a.floor.refuses(cfg, a.end, s)
	}
	if why != "" {
		return fmt.Errorf("%w: %s", messages.ErrTopicFull, why)
	}
	return nil
}

// refuses says what of the limits s would exceed behind end, or "".
func (f floor) refuses(cfg *messages.TopicConfig, end format.LogEnd, s *format.Sealed) string {
	records, bytes := end.Offset-f.start+int64(s.Count), end.Bytes-f.bytes+int64(s.Bytes())
	switch {
	case cfg.MaxRecords > 0 && records > cfg.MaxRecords:
		return fmt.Sprintf("it would have %d records, and the limit is %d", records, cfg.MaxRecords)
	case cfg.MaxBytes > 0 && bytes > cfg.MaxBytes:
		return fmt.Sprintf("it would have %d bytes, and the limit is %d", bytes, cfg.MaxBytes)
	}
	return ""
}

// lookDown finds where the partition begins. An empty one has no bytes behind its end.
func (a *Appender) lookDown(ctx context.Context) error {
	heads, err := a.p.head(ctx)
	if err != nil {
		return err
	}
	a.floor = floor{read: time.Now(), start: heads.Start, bytes: a.end.Bytes}
	if heads.First.Count > 0 {
		a.floor.bytes = heads.First.LogBytes - int64(heads.First.Bytes)
	}
	return nil
}

// head reads where the partition begins, and the first batch, if there is one.
func (p *Partition) head(ctx context.Context) (Head, error) {
	op := "look where " + p.String() + " begins"
	for {
		resp, err := p.log.get(ctx, op, p.startKey())
		if err != nil {
			return Head{}, err
		}
		start, ok, err := p.parseStart(resp.Kvs)
		if err != nil || !ok {
			if err == nil {
				err = p.gone("look at")
			}
			return Head{}, err
		}
		both, err := p.log.do(ctx, op, nil, []clientv3.Op{clientv3.OpGet(p.startKey()), clientv3.OpGet(p.indexKey(start))}, nil)
		if err != nil {
			return Head{}, err
		}
		if now, ok, err := p.parseStart(kvsOf(both, 0)); err != nil || ok && now != start {
			if err != nil {
				return Head{}, err
			}
			continue // it was trimmed meanwhile
		}
		first, _, err := p.one(kvsOf(both, 1))
		return Head{Partition: p.p, Start: start, First: first}, err
	}
}
