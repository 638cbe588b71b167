package penstock

// Tables: the newest record of each key of a topic, and of one.

import (
	"context"
	"fmt"
	"iter"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/messages"
)

// TableOption is an option of Topic.Table.
type TableOption interface{ applyTable(*actors.TableConfig) }

type tableOption func(*actors.TableConfig)

func (o tableOption) applyTable(c *actors.TableConfig) { o(c) }

// KeyPrefix has a table keep only the keys that begin with prefix. It reads the others too,
// and keeps nothing of them.
func KeyPrefix(prefix string) TableOption {
	return tableOption(func(c *actors.TableConfig) { c.Prefix = prefix })
}

// MaxTableBytes bounds the memory of a table: 256 MiB when not given, at least 1 MiB. A
// table that needs more ends with ErrTableFull. See Topic.Table for what a key takes.
func MaxTableBytes(bytes int64) TableOption {
	return tableOption(func(c *actors.TableConfig) { c.MaxBytes = bytes })
}

// Table reads the topic and returns a map of the newest record of each key, which is kept
// fresh from then on. It blocks until all has been read that was in the topic, or ctx ends;
// the event messages.TableLoads tells how far it is. It joins no group and writes nothing.
//
// Newest is by offset. A key that is in several partitions, because the topic got more of
// them or its Partitioner does not go by the key, has the record that was put last, by the
// clocks of those who put. A tombstone deletes its key, and so does a record that expires,
// is erased (DeleteRecords, DeleteKey) or is deleted by a limit of the topic: a table has
// what one would have that is begun now. Where an older record becomes the newest so, the
// topic is read once more, after a while, and until then the key is gone. Records without a
// key are passed over.
//
// A key takes about 160 bytes of memory, and its record and its key once more; the batches
// that records came in are not kept. While the topic is read once more there are two maps,
// which share the records that are the same.
//
// Errors: ErrTableFull, ErrInvalid, ErrCorrupt, ErrDenied, ErrTopicDeleted, ErrClosed, and
// ctx's cause: it waits for an etcd that is away.
func (t *Topic) Table(ctx context.Context, opts ...TableOption) (*Table, error) {
	if err := optionsGiven(opts); err != nil {
		return nil, fmt.Errorf("table of %q: %w", t.Name(), err)
	}
	cfg := actors.TableConfig{}
	for _, o := range opts {
		o.applyTable(&cfg)
	}
	table, err := t.t.Table(ctx, cfg)
	if err != nil {
		return nil, err
	}
	return &Table{table}, nil
}

// Latest returns the newest record of a key, as of a moment after the call: every put that
// returned before, in whichever process, counts. What newest means, and what deletes a key,
// is said at Table; deletions other than tombstones may be seen a moment later.
//
// The first call begins a table of the whole topic, which takes the time and the memory that
// Table says, up to 256 MiB. The handle keeps it until it is closed, or Latest was not called
// for ten minutes. Further calls take one request to etcd, for the ends of the partitions. For
// a topic that is larger use Table, with MaxTableBytes or KeyPrefix.
//
// Errors: ErrNoRecord; ErrInvalid for an empty key; those of Table.
func (t *Topic) Latest(ctx context.Context, key []byte) (Record, error) { return t.t.Latest(ctx, key) }

// Table is a map of the newest record of each key of a topic, see Topic.Table. It is safe for
// concurrent use, and reading it never waits for etcd. After its end it has what it had then:
// see Err.
//
// The bytes of its records are the table's, and stay valid: do not write to them.
type Table struct{ t *actors.Table }

// Topic is the name of the topic.
func (t *Table) Topic() string { return t.t.Topic() }

// Get returns the newest record of a key, if there is one that has not expired. It does not
// block and does not ask etcd: Fresh before it makes it see what was put before.
func (t *Table) Get(key []byte) (Record, bool) { return t.t.Get(key) }

// Len is how many keys there are. One that has expired may be counted for a second.
func (t *Table) Len() int { return t.t.Len() }

// All yields the keys and their records, in no order. It is a snapshot of the moment when the
// loop begins: a batch is in it as a whole or not at all, and what changes during the loop is
// not in it, but for what expires.
func (t *Table) All() iter.Seq2[string, Record] { return t.t.All() }

// Watch yields all that the table has when the loop begins, with Initial, and then each change,
// until ctx ends. Nothing is missed in between. The changes of a key come in their order. A
// loop that is slow holds up nobody: what happens to a key meanwhile becomes one change, or
// none, and takes as much memory as the table at most. An error comes once and last.
//
// Errors: ctx's cause, and Err of the table.
func (t *Table) Watch(ctx context.Context) iter.Seq2[TableChange, error] { return t.t.Watch(ctx) }

// Fresh blocks until the table has everything that was in the topic when it was called:
// every put that returned before, in whichever process, and every tombstone. It takes one
// request to etcd.
//
// Errors: ErrUnavailable with ctx's cause while etcd does not respond, or ctx's cause; Err of
// the table.
func (t *Table) Fresh(ctx context.Context) error { return t.t.Fresh(ctx) }

// State is how fresh the table is, as far as it knows. It does not ask etcd.
func (t *Table) State() TableState { return t.t.State() }

// Stats returns what the table has.
func (t *Table) Stats() TableStats { return t.t.Stats() }

// Done is closed at the end of the table. Err says why.
func (t *Table) Done() <-chan struct{} { return t.t.Done() }

// Err returns why the table has ended, nil while it has not: ErrClosed after Close and the end
// of the runtime, ErrTopicDeleted, ErrTableFull, ErrCorrupt.
func (t *Table) Err() error { return t.t.Err() }

// Close ends the table, its loops over Watch and its calls of Fresh. It does not block. A second
// Close does nothing.
func (t *Table) Close() { t.t.Close() }

// TableState is how fresh a table is.
type TableState = messages.TableState

// The states of a table.
const (
	// TableLoading: it reads its topic for the first time.
	TableLoading = messages.TableLoading
	// TableFollowing: it hears of what is put and deleted.
	TableFollowing = messages.TableFollowing
	// TableReloading: it reads its topic again, and has what it had meanwhile.
	TableReloading = messages.TableReloading
	// TableStale: etcd does not respond. It has what it had, which may be old.
	TableStale = messages.TableStale
	// TableEnded: it has what it had at its end.
	TableEnded = messages.TableEnded
)

// TableChange is what became of one key of a table.
//
//	type TableChange struct {
//		Key     string
//		Old     *Record // nil when the table had none
//		New     *Record // nil when the key is gone
//		Initial bool    // the table had it when the loop began
//	}
type TableChange = messages.TableChange

// TableStats is what a table has.
//
//	type TableStats struct {
//		Topic   string
//		State   TableState
//		Keys    int
//		Bytes   int64  // of memory, about
//		Lag     int64  // records that it has not read, as far as this runtime knows the ends
//		Records uint64 // read since it began
//		Keyless uint64 // of these, without a key
//		Loads   uint64 // how often it has read its topic as a whole
//	}
type TableStats = messages.TableStats

// TableFullError says how much memory a table would take. It wraps ErrTableFull.
//
//	type TableFullError struct {
//		Topic string
//		Keys  int
//		Bytes int64 // that it has taken, about
//		Limit int64 // MaxTableBytes
//	}
//
//	func (e *TableFullError) Error() string
//	func (e *TableFullError) Unwrap() error
type TableFullError = messages.TableFullError
