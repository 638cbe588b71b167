package commitlog

// Making, finding and changing topics. A topic is there when its key is: the
// starts of its partitions are written before, and what a failure leaves of
// them is found by a mark.

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/messages/pb"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// startsInOne is how many starts are written in one transaction at most, with room for
// the topic and its mark.
const startsInOne = 100

// CreateTopic makes a topic, in one request when it has 100 partitions or less.
// It blocks until etcd has it or ctx ends. Errors: messages.ErrInvalid,
// ErrTopicExists, ErrUnavailable, ErrDenied, ErrNoSpace; with ErrUnavailable and
// after the end of ctx the topic may be there nonetheless.
func (l *Log) CreateTopic(ctx context.Context, name string, cfg messages.TopicConfig) (messages.TopicInfo, error) {
	return l.CreateTopicAt(ctx, name, cfg, nil)
}

// CreateTopicAt is CreateTopic whose partitions begin at those offsets, where it has as many,
// else at 0.
func (l *Log) CreateTopicAt(ctx context.Context, name string, cfg messages.TopicConfig, begin []int64) (messages.TopicInfo, error) {
	cfg.EnsureDefaults()
	op := "create topic " + name
	if err := errors.Join(keys.ValidateTopic(name), cfg.Validate()); err != nil {
		return messages.TopicInfo{}, fmt.Errorf("create topic: %w", err)
	}
	for {
		n := l.limits.of(starts)
		info, err := l.createTopic(ctx, op, messages.TopicInfo{Name: name, ID: newID(), Config: cfg, Created: time.UnixMilli(time.Now().UnixMilli())}, begin, n)
		if !l.limits.fewer(starts, n, err) {
			return info, err
		}
	}
}

// createTopic makes a topic, with so many starts in one request.
func (l *Log) createTopic(ctx context.Context, op string, info messages.TopicInfo, begin []int64, inOne int) (messages.TopicInfo, error) {
	m := making{l: l, op: op, info: info, begin: begin}
	chunks := slices.Collect(slices.Chunk(upTo(info.Config.Partitions), inOne))
	last := len(chunks) - 1
	if last > 0 {
		if err := m.mark(ctx); err != nil {
			return messages.TopicInfo{}, err
		}
	}
	for _, chunk := range chunks[:last] {
		if err := m.starts(ctx, chunk); err != nil {
			return messages.TopicInfo{}, m.undo(ctx, err)
		}
	}
	if err := m.publish(ctx, chunks[last]); err != nil {
		return messages.TopicInfo{}, m.undo(ctx, err)
	}
	return m.info, nil
}

// making is a topic that is not there yet.
type making struct {
	l    *Log
	op   string
	info messages.TopicInfo
	// begin is where its partitions begin; nil is at 0.
	begin []int64
	// marked is the ModRevision of the mark; 0 when there is none, because
	// everything goes into one transaction.
	marked int64
}

// insist sends a transaction that does no harm when it is applied twice, until
// its outcome is known.
func (m *making) insist(ctx context.Context, guards []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	var resp *clientv3.TxnResponse
	var err error
	for range tries {
		resp, err = m.l.do(ctx, m.op, guards, then, otherwise)
		if err == nil || ctx.Err() != nil || !errors.Is(err, messages.ErrUnavailable) {
			break
		}
	}
	return resp, err
}

func (m *making) free() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(m.l.space.Topic(m.info.Name)), "=", 0)
}

func (m *making) unswept() clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(m.l.space.Deleting(m.info.ID)), "=", m.marked)
}

func (m *making) taken() error { return fmt.Errorf("%s: %w", m.op, messages.ErrTopicExists) }

// swept: another process took the mark away, because the making seemed to have been
// given up.
func (m *making) swept() error {
	return fmt.Errorf("%s: %w: it took so long that others took it for given up", m.op, messages.ErrUnavailable)
}

func (m *making) mark(ctx context.Context) error {
	key := m.l.space.Deleting(m.info.ID)
	value := mark(m.info.Name, pb.Deleting_MAKING)
	resp, err := m.insist(ctx,
		[]clientv3.Cmp{m.free(), clientv3.Compare(clientv3.CreateRevision(key), "=", 0)},
		[]clientv3.Op{clientv3.OpPut(key, value)},
		[]clientv3.Op{exists(key)})
	switch {
	case err != nil:
		return err
	case resp.Succeeded:
		m.marked = resp.Header.Revision
	case len(ranged(resp, 0).Kvs) == 0:
		return m.taken()
	default:
		// The first of several attempts had been applied.
		m.marked = ranged(resp, 0).Kvs[0].ModRevision
	}
	return nil
}

func (m *making) starts(ctx context.Context, partitions []int) error {
	resp, err := m.insist(ctx, []clientv3.Cmp{m.unswept()}, m.l.putStarts(m.info.ID, partitions, m.begin), nil)
	if err == nil && !resp.Succeeded {
		err = m.swept()
	}
	return err
}

// publish writes the last starts and the topic itself.
func (m *making) publish(ctx context.Context, partitions []int) error {
	topic := m.l.space.Topic(m.info.Name)
	then := append(m.l.putStarts(m.info.ID, partitions, m.begin), clientv3.OpPut(topic, format.TopicValue(m.info)))
	guards := []clientv3.Cmp{m.free()}
	if m.marked != 0 {
		guards = append(guards, m.unswept())
		then = append(then, clientv3.OpDelete(m.l.space.Deleting(m.info.ID)))
	}
	otherwise := []clientv3.Op{clientv3.OpGet(topic)}
	resp, err := m.insist(ctx, guards, then, otherwise)
	if errors.Is(err, messages.ErrNoSpace) {
		// It may have been written before etcd noticed.
		if there, err := m.l.Topic(ctx, m.info.Name); err == nil && there.ID == m.info.ID {
			m.info = there
			return nil
		}
	}
	switch {
	case err != nil:
		return err
	case resp.Succeeded:
		m.info.CreateRevision, m.info.ModRevision = resp.Header.Revision, resp.Header.Revision
		return nil
	case len(ranged(resp, 0).Kvs) == 0:
		return m.swept()
	}
	// An earlier attempt of this very call may be what stands there.
	kv := ranged(resp, 0).Kvs[0]
	there, err := format.ParseTopic(m.info.Name, kv.Value, kv.CreateRevision, kv.ModRevision)
	if err != nil || there.ID != m.info.ID {
		return m.taken()
	}
	m.info = there
	return nil
}

// undo removes what was made. What it cannot remove now, Sweep does later.
func (m *making) undo(ctx context.Context, cause error) error {
	if m.marked == 0 || ctx.Err() != nil || errors.Is(cause, messages.ErrUnavailable) {
		return cause
	}
	key := m.l.space.Deleting(m.info.ID)
	resp, err := m.l.do(ctx, m.op, []clientv3.Cmp{m.unswept()}, []clientv3.Op{clientv3.OpPut(key, mark(m.info.Name, pb.Deleting_SWEEPING))}, nil)
	if err == nil && resp.Succeeded {
		_ = m.l.sweep(ctx, m.info.ID)
	}
	return cause
}

func (l *Log) putStarts(id string, partitions []int, begin []int64) []clientv3.Op {
	ops := make([]clientv3.Op, 0, len(partitions)+2)
	for _, p := range partitions {
		at := int64(0)
		if p < len(begin) {
			at = begin[p]
		}
		ops = append(ops, clientv3.OpPut(l.space.LogStart(id, p), keys.Offset(at)))
	}
	return ops
}

// Topic reads a topic. Errors: messages.ErrInvalid, ErrNoTopic, ErrCorrupt,
// ErrUnavailable, ErrDenied.
func (l *Log) Topic(ctx context.Context, name string) (messages.TopicInfo, error) {
	op := "open topic " + name
	if err := keys.ValidateTopic(name); err != nil {
		return messages.TopicInfo{}, fmt.Errorf("open topic: %w", err)
	}
	resp, err := l.get(ctx, op, l.space.Topic(name))
	if err != nil {
		return messages.TopicInfo{}, err
	}
	return l.topicIn(op, name, resp)
}

// topicIn is the topic that a range over its key has found.
func (l *Log) topicIn(op, name string, resp *clientv3.GetResponse) (messages.TopicInfo, error) {
	if len(resp.Kvs) == 0 {
		return messages.TopicInfo{}, fmt.Errorf("%s: %w", op, messages.ErrNoTopic)
	}
	return format.ParseTopic(name, resp.Kvs[0].Value, resp.Kvs[0].CreateRevision, resp.Kvs[0].ModRevision)
}

// Topics reads all topics as of one revision, sorted by name. Topics whose key
// cannot be read are left out and named in the error, which then wraps
// messages.ErrCorrupt and comes with the others. Errors besides:
// messages.ErrUnavailable, ErrDenied.
func (l *Log) Topics(ctx context.Context) ([]messages.TopicInfo, error) {
	kvs, err := atOneRevision(func() ([]*mvccpb.KeyValue, error) {
		kvs, _, err := l.list(ctx, "list topics", l.space.Topics(), 0)
		return kvs, err
	})
	if err != nil {
		return nil, err
	}
	var topics []messages.TopicInfo
	var faults []error
	for _, kv := range kvs {
		k, ok := l.space.Parse(string(kv.Key))
		if !ok {
			continue
		}
		t, err := format.ParseTopic(k.Topic, kv.Value, kv.CreateRevision, kv.ModRevision)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		topics = append(topics, t)
	}
	return topics, errors.Join(faults...)
}

// UpdateTopic changes a topic and returns it as it is then. Several at once are all
// applied, one after the other. Errors: messages.ErrInvalid, for fewer
// partitions among others, ErrNoTopic, ErrTopicDeleted when it is deleted
// meanwhile, ErrUnavailable, ErrDenied, ErrNoSpace; after the last two the change
// may have been made, and can be made again.
func (l *Log) UpdateTopic(ctx context.Context, name string, u messages.TopicUpdate) (messages.TopicInfo, error) {
	op := "update topic " + name
	first, err := l.Topic(ctx, name)
	if err != nil {
		return messages.TopicInfo{}, err
	}
	for old := first; ; {
		cfg, err := updated(old.Config, u)
		if err != nil {
			return messages.TopicInfo{}, fmt.Errorf("%s: %w", op, err)
		}
		if cfg == old.Config {
			return old, nil
		}
		if err := l.addStarts(ctx, op, old, cfg.Partitions); err != nil {
			return messages.TopicInfo{}, err
		}
		next := old
		next.Config = cfg
		key := l.space.Topic(name)
		resp, err := l.do(ctx, op,
			[]clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", old.ModRevision)},
			[]clientv3.Op{clientv3.OpPut(key, format.TopicValue(next))},
			[]clientv3.Op{clientv3.OpGet(key)})
		if err != nil {
			return messages.TopicInfo{}, err
		}
		if resp.Succeeded {
			next.ModRevision = resp.Header.Revision
			return next, nil
		}
		if createRevision(ranged(resp, 0)) != first.CreateRevision {
			return messages.TopicInfo{}, fmt.Errorf("%s: %w", op, messages.ErrTopicDeleted)
		}
		if old, err = l.topicIn(op, name, ranged(resp, 0)); err != nil {
			return messages.TopicInfo{}, err
		}
	}
}

// updated is a topic's configuration after a change, or why it cannot be.
func updated(cfg messages.TopicConfig, u messages.TopicUpdate) (messages.TopicConfig, error) {
	if u.Partitions != 0 && u.Partitions < cfg.Partitions {
		return cfg, fmt.Errorf("%w: %d partitions: the topic has %d and cannot have fewer", messages.ErrInvalid, u.Partitions, cfg.Partitions)
	}
	if u.Partitions != 0 {
		cfg.Partitions = u.Partitions
	}
	if u.Compression != "" {
		cfg.Compression = u.Compression
	}
	if u.MaxRecordBytes != 0 {
		cfg.MaxRecordBytes = u.MaxRecordBytes
	}
	cfg.MaxAge, cfg.TTL = limit(cfg.MaxAge, u.MaxAge), limit(cfg.TTL, u.TTL)
	cfg.MaxBytes, cfg.MaxRecords = limit(cfg.MaxBytes, u.MaxBytes), limit(cfg.MaxRecords, u.MaxRecords)
	cfg.Retention, cfg.Discard = cmp.Or(u.Retention, cfg.Retention), cmp.Or(u.Discard, cfg.Discard)
	if u.DedupeWindow < 0 {
		cfg.DedupeWindow, cfg.DedupeRecords = 0, 0
	} else if u.DedupeWindow != 0 {
		cfg.DedupeWindow = u.DedupeWindow
	}
	if u.DedupeRecords != 0 {
		cfg.DedupeRecords = u.DedupeRecords
	}
	cfg.Compaction = cmp.Or(u.Compaction, cfg.Compaction)
	if u.Compaction == messages.CompactNone {
		cfg.TombstoneGrace, cfg.CompactionLag = 0, 0
	}
	cfg.TombstoneGrace = cmp.Or(u.TombstoneGrace, cfg.TombstoneGrace)
	cfg.CompactionLag = cmp.Or(u.CompactionLag, cfg.CompactionLag)
	cfg.EnsureDefaults()
	return cfg, cfg.Validate()
}

// limit is a limit after a change: 0 changes nothing, and less removes it.
func limit[T ~int64](old, change T) T {
	if change == 0 {
		return old
	}
	return max(0, change)
}

// addStarts makes the starts of new partitions, before they are part of the topic.
// One that exists stays: another update may have made it, and appends may have
// followed.
func (l *Log) addStarts(ctx context.Context, op string, t messages.TopicInfo, partitions int) error {
	added := upTo(partitions)[t.Config.Partitions:]
	// Each start is a transaction within the transaction, and takes two
	// operations of the limit.
	return inTurn(l.limits, nests, added, func(chunk []int) error {
		then := make([]clientv3.Op, 0, len(chunk))
		for _, p := range chunk {
			key := l.space.LogStart(t.ID, p)
			then = append(then, clientv3.OpTxn(
				[]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)},
				[]clientv3.Op{clientv3.OpPut(key, keys.Offset(0))}, nil))
		}
		resp, err := l.do(ctx, op, []clientv3.Cmp{l.lives(t)}, then, nil)
		if err != nil {
			return err
		}
		if !resp.Succeeded {
			return fmt.Errorf("%s: %w", op, messages.ErrTopicDeleted)
		}
		return nil
	})
}

// newID is 80 random bits, short because every key of the topic has it.
func newID() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
}

// upTo is 0, 1 … n-1.
func upTo(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
