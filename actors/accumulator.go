package actors

// What a process has taken for one partition and etcd has not: the batch that
// fills, those that are full, and the one on its way. It outlives the
// incarnations of the partition's actor, so a crash there loses nothing and
// appends nothing twice.

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// accPhase is where an accumulator stands with those who put.
type accPhase uint8

const (
	accOpen     accPhase = iota
	accDraining          // takes no more, and appends what it has
	accClosed
)

// accumulator gathers the records of all handles for one partition. Nothing
// waits to fill a batch: while one is on its way, what comes is the next.
// Its methods are safe for concurrent use; one run at a time.
type accumulator struct {
	partition int
	info      func() messages.TopicInfo
	emit      func(messages.Event) // never blocks, so it may be called under mu
	producer  uint64               // random: whose batches these are
	bell      chan struct{}        // wakes run; holds one ring

	mu      sync.Mutex
	phase   accPhase
	cause   error // why it takes no more
	asleep  bool  // run waits for the bell
	filling *draft
	full    []*draft
	flight  *shipment   // what run is about
	decided []*shipment // whose waiters are to be told
	telling bool        // somebody tells them
	// sequence counts what was taken to be sealed.
	sequence uint64
	most     int // bytes of a batch, as far as is known
	stats    accStats
	taken    uint64        // records, ever
	told     uint64        // records whose waiters were told, ever
	moved    chan struct{} // closed when told grows; nil when nobody waits

	// drafts counts those that take no more records. It is read for each record.
	drafts atomic.Uint64
}

// accStats counts what became of the records of one partition in this process.
type accStats struct {
	Records, Bytes uint64 // taken
	Appends        uint64 // batches committed
	Committed      uint64 // records in them
	Failed         uint64 // records whose callers were told an error
	Queued         int64  // bytes taken and neither committed nor failed
}

// sink is told what became of a record, in the order of the offsets. It must not
// block. A callback, which may, is told by its producer.
type sink interface {
	result(index int, r messages.PutResult)
}

// slot is who waits for a record, or for some in a row that nobody but Flush
// asks for.
type slot struct {
	from  *producer // gets its credit back
	to    sink      // or nil
	index int32     // the sink's number for the record
	count int32     // records, 1 with a sink
	size  int32     // their encoded bytes
}

// waitBytes is what it takes to remember who waits for a record.
const waitBytes = 48

// room is what records of size bytes take of their producer's buffer: never more
// than all of it, unless they are larger themselves.
func (s *slot) room(size int) int64 {
	room := int64(size)
	if s.to != nil {
		room = max(room, min(room+waitBytes, s.from.credit.size))
	}
	return room
}

// draft is a batch that is not sealed yet.
type draft struct {
	pieces  []*piece // the records, one after the other
	size    int      // their bytes
	first   slot     // who waits, in the order of the records
	slabs   []*slab  // those after the first
	waiters int      // how many slots there are
	count   int
	timed   int // records with a time of their own
	minTime int64
	maxTime int64
}

// shipStage is how far a batch has come since it was taken to be sealed.
type shipStage uint8

const (
	shipTaken   shipStage = iota // never sent
	shipSealed                   // may have been sent
	shipWritten                  // etcd has it at base
	shipTelling                  // credit is back, waiters are being told
)

// shipment is a draft on its way. Once sealed it never changes: a restart
// resumes the very same.
type shipment struct {
	*draft
	stage    shipStage
	sequence uint64
	sealed   *format.Sealed // run's alone
	base     int64
	err      error // why it was given up; then base means nothing
	spare    spare
	users    atomic.Int32 // who still reads the slots
}

// spare is what of a shipment may be used again once all are told.
type spare uint8

const (
	spareNothing spare = iota // run may still be about it
	spareAll
)

// commitFunc commits a batch and answers its base. See commitlog.Appender.
type commitFunc = func(ctx context.Context, s *format.Sealed, more bool) (base int64, err error)

// committedFunc is told of a batch that etcd has, before those who put it are,
// and once at most. It does not keep s.
type committedFunc = func(base int64, s *format.Sealed)

func newAccumulator(partition int, info func() messages.TopicInfo, emit func(messages.Event)) *accumulator {
	return &accumulator{
		partition: partition, info: info, emit: emit, producer: rand.Uint64(), bell: make(chan struct{}, 1),
		most: messages.MaxBatchBytes,
	}
}

// add copies m, whose encoded size is given, behind what was taken before. It
// answers why the accumulator is closed, and then has taken nothing.
func (a *accumulator) add(m *messages.Message, size int, s *slot) error {
	a.mu.Lock()
	if err := a.refuses(s.from); err != nil {
		a.mu.Unlock()
		return err
	}
	d := a.filling
	if d != nil && !d.fits(size, a.most) {
		a.full = append(a.full, d)
		a.drafts.Add(1)
		d = nil
	}
	if d == nil {
		d = newDraft()
		a.filling = d
	}
	d.add(m, size, s)
	a.taken++
	a.stats.Records++
	a.stats.Bytes += uint64(size)
	a.stats.Queued += int64(size)
	wake := a.asleep
	a.asleep = false
	a.mu.Unlock()
	if wake {
		a.ring()
	}
	return nil
}

// refuses answers why nothing is taken of a producer. mu is held, so that who ends
// one, and then has had mu, knows that nothing comes any more.
func (a *accumulator) refuses(from *producer) error {
	if a.phase != accOpen {
		return a.cause
	}
	return from.closed.why()
}

// ring wakes run. It never blocks.
func (a *accumulator) ring() {
	select {
	case a.bell <- struct{}{}:
	default:
	}
}

// run commits what is taken, batch by batch, until ctx ends, whose cause it
// answers, or the accumulator closes: nil. What was on its way when an earlier
// run ended, by whatever means, is resumed first, unchanged.
func (a *accumulator) run(ctx context.Context, commit commitFunc, committed committedFunc) error {
	a.tell()
	for {
		s, err := a.next(ctx)
		if s == nil {
			return err
		}
		if err := a.ship(ctx, s, commit, committed); err != nil {
			return err
		}
	}
}

// next waits for something to append. It answers nil without an error when the
// accumulator is closed.
func (a *accumulator) next(ctx context.Context) (*shipment, error) {
	for {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		a.mu.Lock()
		if a.flight == nil {
			if d := a.take(); d != nil {
				a.sequence++
				a.flight = &shipment{draft: d, sequence: a.sequence}
			}
		}
		s, phase := a.flight, a.phase
		a.asleep = s == nil && phase != accClosed
		a.mu.Unlock()
		if s != nil || phase == accClosed {
			return s, nil
		}
		select {
		case <-a.bell:
		case <-ctx.Done():
		}
	}
}

// take answers the oldest draft, or nil. mu is held.
func (a *accumulator) take() *draft {
	if len(a.full) > 0 {
		d := a.full[0]
		n := copy(a.full, a.full[1:])
		a.full[n] = nil
		a.full = a.full[:n]
		return d
	}
	d := a.filling
	if d != nil {
		a.filling = nil
		a.drafts.Add(1)
	}
	return d
}

// ship brings one batch to its end. An error of its own ends run and leaves the
// batch for the next one.
func (a *accumulator) ship(ctx context.Context, s *shipment, commit commitFunc, committed committedFunc) error {
	if s.sealed == nil {
		s.sealed = a.seal(s)
	}
	stage, more := a.begin(s)
	switch stage {
	case shipSealed:
		base, err := commit(ctx, s.sealed, more)
		if err != nil && ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil && s.count > 1 && splits(err) {
			return a.split(s)
		}
		if err != nil {
			a.give(s, err)
			if errors.Is(err, messages.ErrTopicDeleted) {
				a.close(err)
			}
			return nil
		}
		if !a.written(s, base) {
			return nil
		}
		committed(base, s.sealed)
		s.sealed.Free()
		a.arrived(s)
	case shipWritten:
		a.arrived(s) // committed was asked, and did not come back
	}
	return nil
}

func (a *accumulator) seal(s *shipment) *format.Sealed {
	now := time.Now().UnixNano()
	minTime, maxTime := s.minTime, s.maxTime
	switch {
	case s.timed == 0:
		minTime, maxTime = now, now
	case s.timed < s.count:
		minTime, maxTime = min(minTime, now), max(maxTime, now)
	}
	var sealed *format.Sealed
	s.whole(func(raw []byte) {
		sealed = format.Seal(raw, s.count, minTime, maxTime, now, a.info().Config.Compression, a.producer, s.sequence)
	})
	return sealed
}

// begin notes that s may be sent from now on, and answers how far it is and
// whether there is more behind it.
func (a *accumulator) begin(s *shipment) (stage shipStage, more bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flight != s {
		return shipTelling, false
	}
	if s.stage == shipTaken {
		s.stage = shipSealed
	}
	return s.stage, a.filling != nil || len(a.full) > 0
}

// written notes where etcd has s. It answers false when close was faster and
// told everybody that the outcome is unknown.
func (a *accumulator) written(s *shipment, base int64) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.flight != s {
		return false
	}
	s.stage, s.base = shipWritten, base
	return true
}

// arrived tells everybody that s is committed.
func (a *accumulator) arrived(s *shipment) {
	a.mu.Lock()
	if a.flight == s {
		s.spare = spareAll
		a.flight = nil
		a.succeed(s)
	}
	a.mu.Unlock()
	a.tell()
}

// succeed decides s. mu is held.
func (a *accumulator) succeed(s *shipment) {
	a.decided = append(a.decided, s)
	a.stats.Appends++
	a.stats.Committed += uint64(s.count)
}

// give tells everybody that s was given up.
func (a *accumulator) give(s *shipment, err error) {
	err = a.outcome(err)
	a.mu.Lock()
	if a.flight == s {
		a.flight = nil
		a.fail(s, err)
		a.emit(messages.AppendFailed{Topic: a.info().Name, Partition: a.partition, Records: s.count, Err: err})
	}
	a.mu.Unlock()
	a.tell()
}

// outcome is what an error of an append means for those who put. One that does
// not say that nothing was written leaves it open.
func (a *accumulator) outcome(err error) error {
	for _, definite := range []error{
		messages.ErrTooLarge, messages.ErrNoSpace, messages.ErrDenied, messages.ErrInvalid, messages.ErrTopicDeleted,
		messages.ErrCorrupt, messages.ErrUnknownOutcome,
	} {
		if errors.Is(err, definite) {
			return a.wrap(err)
		}
	}
	return a.wrap(fmt.Errorf("%w: %w", messages.ErrUnknownOutcome, err))
}

func (a *accumulator) wrap(err error) error {
	return fmt.Errorf("put to %q, partition %d: %w", a.info().Name, a.partition, err)
}

// fail decides s. mu is held.
func (a *accumulator) fail(s *shipment, err error) {
	s.err = err
	a.decided = append(a.decided, s)
	a.stats.Failed += uint64(s.count)
}

// refuse takes no more, with err for who comes. What was taken is appended.
func (a *accumulator) refuse(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.phase == accOpen {
		a.phase, a.cause = accDraining, err
	}
}

// close refuses new records with err and fails what was taken: with err what
// was never sent, and with messages.ErrUnknownOutcome as well what may have been.
// It does not call callbacks, and does not wait for run, which returns when its append does. A second close
// does nothing. It answers how many records it failed.
func (a *accumulator) close(err error) (given int) {
	refused, unknown := a.wrap(err), a.wrap(fmt.Errorf("%w: %w", messages.ErrUnknownOutcome, err))
	a.mu.Lock()
	if a.phase != accClosed {
		a.phase, a.cause = accClosed, err
		failed := a.stats.Failed
		if s := a.flight; s != nil {
			a.flight = nil
			switch s.stage {
			case shipTaken:
				a.fail(s, refused)
			case shipSealed:
				a.fail(s, unknown)
			default:
				a.succeed(s)
			}
		}
		for d := a.take(); d != nil; d = a.take() {
			a.fail(&shipment{draft: d}, refused)
		}
		if given = int(a.stats.Failed - failed); given > 0 {
			a.emit(messages.AppendFailed{Topic: a.info().Name, Partition: a.partition, Records: given, Err: refused})
		}
	}
	a.mu.Unlock()
	a.ring()
	a.tell()
	return given
}

// tell tells those who wait for what is decided. One goroutine does so at a
// time; what is decided meanwhile is left to it.
func (a *accumulator) tell() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.telling {
		return
	}
	a.telling = true
	for len(a.decided) > 0 {
		a.tellOne(a.decided[0])
		n := copy(a.decided, a.decided[1:])
		a.decided[n] = nil
		a.decided = a.decided[:n]
	}
	a.telling = false
}

// tellOne is called with mu held and gives it up for as long as it tells others.
func (a *accumulator) tellOne(s *shipment) {
	s.stage = shipTelling
	a.stats.Queued -= s.refund()
	a.mu.Unlock()
	s.users.Store(1)
	a.tellSlots(s)
	a.mu.Lock()
	a.told += uint64(s.count)
	if a.moved != nil {
		close(a.moved)
		a.moved = nil
	}
	s.recycle()
}

// refund gives back the credit of s, before anybody is told: a callback that
// puts the next record must find room. It answers the bytes. A producer's credit
// never asks for anything of an accumulator, so mu may be held.
func (s *shipment) refund() (bytes int64) {
	for i := 0; i < s.waiters; {
		from, room := s.slot(i).from, int64(0)
		for ; i < s.waiters && s.slot(i).from == from; i++ {
			now := s.slot(i)
			room += now.room(int(now.size))
			bytes += int64(now.size)
		}
		from.credit.give(room)
	}
	return bytes
}

// tellSlots tells everybody, and hands callbacks over to those who call them.
func (a *accumulator) tellSlots(s *shipment) {
	offset := int64(0)
	for i := 0; i < s.waiters; {
		now := s.slot(i)
		if _, ok := now.to.(callback); ok {
			n := s.callbacks(i)
			now.from.calls.add(toCall{acc: a, ship: s, next: i, to: i + n, offset: offset})
			i += n
			offset += int64(n)
			continue
		}
		if now.to != nil {
			now.to.result(int(now.index), s.result(a.partition, offset))
		} else if s.err != nil {
			now.from.unheard(s.err, int(now.count))
		}
		i++
		offset += int64(now.count)
	}
}

// callbacks is how many slots from i on are callbacks of one producer.
func (s *shipment) callbacks(i int) (n int) {
	for from := s.slot(i).from; i+n < s.waiters; n++ {
		now := s.slot(i + n)
		if _, ok := now.to.(callback); !ok || now.from != from {
			break
		}
	}
	return n
}

// result is what became of a record, whose offset from the base is given.
func (s *shipment) result(partition int, offset int64) messages.PutResult {
	if s.err != nil {
		return messages.PutResult{Partition: partition, Offset: -1, Err: s.err}
	}
	return messages.PutResult{Partition: partition, Offset: s.base + offset}
}

// takenSoFar counts the records taken, for flushed.
func (a *accumulator) takenSoFar() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.taken
}

// flushed waits until the waiters of the first n records were told, and their
// callbacks are their producers' to call, or ctx ends, whose cause it answers.
func (a *accumulator) flushed(ctx context.Context, n uint64) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.told < n {
		if a.moved == nil {
			a.moved = make(chan struct{})
		}
		moved := a.moved
		a.mu.Unlock()
		var err error
		select {
		case <-moved:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		a.mu.Lock()
		if err != nil && a.told < n {
			return err
		}
	}
	return nil
}

// counters answers the counts so far.
func (a *accumulator) counters() accStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

// Drafts and what they consist of are used again, process-wide: fresh memory
// costs more than what is written to it, and an idle partition keeps none. Pieces
// grow with the draft, so that little of it is unused, however many there are.
const (
	smallestPiece = 1 << 10
	slabSlots     = 128
)

type (
	piece struct{ buf []byte }
	slab  [slabSlots]slot
)

var (
	draftPool  = sync.Pool{New: func() any { return new(draft) }}
	piecePools [5]sync.Pool // 1 KiB to 16 KiB
	slabPool   = sync.Pool{New: func() any { return new(slab) }}
	wholePool  = sync.Pool{New: func() any { return new(piece) }} // a record's or a batch's, for a moment
)

func newDraft() *draft { return draftPool.Get().(*draft) }

// pieceClass is the pool of the pieces that a draft of that size grows by.
func pieceClass(size int) int {
	return min(bits.Len(uint(size/(8*smallestPiece))), len(piecePools)-1)
}

// fits reports whether d takes another record, of so many bytes at most. A record
// above the limit has a batch of its own.
func (d *draft) fits(size, most int) bool {
	return d.count < messages.MaxBatchRecords && d.size+size <= most
}

func (d *draft) add(m *messages.Message, size int, s *slot) {
	if n := len(d.pieces); n > 0 && size <= d.pieces[n-1].free() {
		last := d.pieces[n-1]
		last.buf = messages.AppendRecord(last.buf, m)
		d.size += size
	} else {
		d.span(m, size)
	}
	nano := int64(0)
	if !m.Time.IsZero() {
		nano = m.Time.UnixNano()
	}
	d.enter(size, nano, s)
}

// enter notes a record that was added, its time (0 for none) and who waits for it.
func (d *draft) enter(size int, nano int64, s *slot) {
	d.count++
	d.stamp(nano)
	if s.to == nil && d.waiters > 0 {
		if last := d.slot(d.waiters - 1); last.to == nil && last.from == s.from {
			last.count++
			last.size += int32(size)
			return
		}
	}
	if d.waiters == 1+len(d.slabs)*slabSlots {
		d.slabs = append(d.slabs, slabPool.Get().(*slab))
	}
	d.waiters++
	*d.slot(d.waiters - 1) = slot{from: s.from, to: s.to, index: s.index, count: 1, size: int32(size)}
}

// span adds a record that goes over the ends of pieces.
func (d *draft) span(m *messages.Message, size int) {
	var small [256]byte
	if size <= len(small) {
		d.append(messages.AppendRecord(small[:0], m))
		return
	}
	whole := wholePool.Get().(*piece)
	whole.buf = messages.AppendRecord(slices.Grow(whole.buf[:0], size), m)
	d.append(whole.buf)
	wholePool.Put(whole)
}

func (d *draft) append(record []byte) {
	for len(record) > 0 {
		n := len(d.pieces)
		if n == 0 || d.pieces[n-1].free() == 0 {
			class := pieceClass(d.size)
			p, _ := piecePools[class].Get().(*piece)
			if p == nil {
				p = &piece{make([]byte, 0, smallestPiece<<class)}
			}
			d.pieces = append(d.pieces, p)
			continue
		}
		last := d.pieces[n-1]
		n = min(len(record), last.free())
		last.buf = append(last.buf, record[:n]...)
		record = record[n:]
		d.size += n
	}
}

func (p *piece) free() int { return cap(p.buf) - len(p.buf) }

// whole hands all records in one piece to do, which must not keep it, and then
// drops them.
func (d *draft) whole(do func(raw []byte)) {
	if len(d.pieces) == 1 {
		do(d.pieces[0].buf)
	} else {
		whole := wholePool.Get().(*piece)
		whole.buf = slices.Grow(whole.buf[:0], d.size)
		for _, p := range d.pieces {
			whole.buf = append(whole.buf, p.buf...)
		}
		do(whole.buf)
		wholePool.Put(whole)
	}
	for i, p := range d.pieces {
		p.buf = p.buf[:0]
		piecePools[bits.Len(uint(cap(p.buf)/smallestPiece))-1].Put(p)
		d.pieces[i] = nil
	}
	d.pieces = d.pieces[:0]
}

func (d *draft) slot(i int) *slot {
	if i == 0 {
		return &d.first
	}
	return &d.slabs[(i-1)/slabSlots][(i-1)%slabSlots]
}

// stamp widens the times of d. The record format takes 1970 for no time.
func (d *draft) stamp(nano int64) {
	switch {
	case nano == 0:
		return
	case d.timed == 0:
		d.minTime, d.maxTime = nano, nano
	default:
		d.minTime, d.maxTime = min(d.minTime, nano), max(d.maxTime, nano)
	}
	d.timed++
}

// recycle notes that one reads the slots no more, and after the last one gives
// back what nobody else may read.
func (s *shipment) recycle() {
	if s.users.Add(-1) > 0 || s.spare == spareNothing {
		return
	}
	d := s.draft
	for i, slab := range d.slabs {
		clear(slab[:])
		slabPool.Put(slab)
		d.slabs[i] = nil
	}
	*d = draft{pieces: d.pieces[:0], slabs: d.slabs[:0]}
	s.draft = nil
	draftPool.Put(d)
}
