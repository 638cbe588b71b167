package window

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// logged is a batch in the log of a test.
type logged struct {
	base  int64
	ids   []string // "" for a record without one
	nano  int64
	way   format.Way
	entry format.Entry
	batch *format.Batch
}

// paperLog is a log on paper, to which several processes append.
type paperLog struct {
	batches []logged
	end     format.LogEnd
	sealed  uint64
}

func newPaperLog() *paperLog { return &paperLog{end: format.LogEnd{Last: -1}} }

// append puts a batch at the end, and returns it as its appender has it.
func (l *paperLog) append(ids []string, nano int64) (*format.Sealed, []ID) {
	var raw []byte
	for i, id := range ids {
		raw = messages.AppendRecord(raw, &messages.Message{Value: fmt.Append(nil, i), ID: id})
	}
	l.sealed++
	s := format.Seal(raw, len(ids), nano, nano, nano, messages.CompressNone, 7, l.sealed)
	own, err := IDs(raw, nil)
	if err != nil {
		panic(err)
	}
	s.GoBehind(l.end)
	b, err := s.Batch(l.end.Offset)
	if err != nil {
		panic(err)
	}
	e := format.Entry{Base: l.end.Offset}
	if !e.Decode([]byte(s.Way.Entry)) {
		panic("an entry does not decode")
	}
	l.batches = append(l.batches, logged{l.end.Offset, ids, nano, s.Way, e, b})
	l.end = s.Way.Behind
	return s, own
}

// show shows the log to a sight, from its end on back.
func (l *paperLog) show(s interface {
	Begin(format.LogEnd)
	Wants(format.Entry) bool
	Sees(*format.Batch) bool
}) (read int) {
	s.Begin(l.end)
	for i := len(l.batches) - 1; i >= 0; i-- {
		if !s.Wants(l.batches[i].entry) {
			break
		}
		read++
		if !s.Sees(l.batches[i].batch) {
			break
		}
	}
	return read
}

// first is where the log has an id in the window of cfg, as seen at a time.
func (l *paperLog) first(id string, cfg messages.TopicConfig, now time.Time) (int64, bool) {
	for _, b := range l.batches {
		for i, has := range b.ids {
			at := b.base + int64(i)
			if has == id && at >= l.end.Offset-int64(cfg.DedupeRecords) && b.nano >= now.Add(-cfg.DedupeWindow).UnixNano() {
				return at, true
			}
		}
	}
	return 0, false
}

// A window finds what is in the log and in the window, and nothing else, whoever
// appended it: this process, others in between, or both after the log was set back.
func TestAWindowFindsWhatTheLogHas(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := messages.TopicConfig{
			DedupeWindow:  time.Duration(rapid.IntRange(1, 30).Draw(t, "seconds")) * time.Second,
			DedupeRecords: rapid.IntRange(1, 40).Draw(t, "records"),
		}
		var w Window
		w.Set(cfg)
		log := newPaperLog()
		now := time.Unix(1e9, 0)
		id := rapid.SampledFrom([]string{"", "a", "b", "c", "d", "e", "f", "g", "h"})
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
			ids := rapid.SliceOfN(id, 1, 6).Draw(t, "ids")
			switch rapid.IntRange(0, 9).Draw(t, "what") {
			case 0, 1, 2, 3: // ours
				s, own := log.append(ids, now.UnixNano())
				w.Landed(s, own, now)
			case 4, 5, 6: // another process's
				log.append(ids, now.UnixNano())
			case 7: // etcd is set back
				if n := len(log.batches); n > 0 {
					keep := rapid.IntRange(0, n-1).Draw(t, "keep")
					log.end = log.batches[keep].way.After
					log.batches = log.batches[:keep]
				}
			case 8:
				cfg.DedupeRecords = rapid.IntRange(1, 40).Draw(t, "records")
				w.Set(cfg)
			}
			if !w.Known() || !w.End().Is(log.end) {
				g := w.Glance(now)
				log.show(g)
				if err := g.Learn(); err != nil {
					t.Fatal(err)
				}
			}
			if !w.Known() || !w.End().Is(log.end) {
				t.Fatalf("the window ends at %d, the log at %d", w.End().Offset, log.end.Offset)
			}
			for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
				want, there := log.first(id, cfg, now)
				got, found := w.Find(hash([]byte(id)), now.UnixNano())
				if found != there || found && got != want {
					t.Fatalf("id %s: at %d, %t; the log has it at %d, %t", id, got, found, want, there)
				}
			}
			if n := len(w.order); n > 2*40+16 || len(w.ids) > n {
				t.Fatalf("%d places and %d ids are kept for %d records", n, len(w.ids), cfg.DedupeRecords)
			}
		}
	})
}

// Reading back ends where the window does, however long the log is.
func TestReadingBackIsBounded(t *testing.T) {
	now := time.Unix(1e9, 0)
	for name, tc := range map[string]struct {
		cfg  messages.TopicConfig
		most int
	}{
		"by records": {messages.TopicConfig{DedupeWindow: time.Hour, DedupeRecords: 30}, 10},
		"by time":    {messages.TopicConfig{DedupeWindow: 10 * time.Second, DedupeRecords: 1000}, 72},
	} {
		log := newPaperLog()
		for i := range 200 { // one a second, the last one now
			log.append([]string{"a", "b", "c"}, now.Add(time.Duration(i-199)*time.Second).UnixNano())
		}
		var w Window
		w.Set(tc.cfg)
		if n := log.show(w.Glance(now)); n > tc.most || n < tc.most-1 {
			t.Errorf("%s: read %d batches, want about %d", name, n, tc.most)
		}
	}
	e := format.Entry{Base: 10, Count: 1, LogBytes: 1000}
	for _, tc := range []struct {
		bytes int64
		far   bool
	}{{1000 + messages.MaxDedupeBytes, false}, {1001 + messages.MaxDedupeBytes, true}, {0, false}} {
		if far := beyond(e, format.LogEnd{Offset: 11, Bytes: tc.bytes}, 100); far != tc.far {
			t.Errorf("a batch %d bytes before the end: %t", tc.bytes-1000, far)
		}
	}
}

// The newest id of a producer is its own, of its last batch in the window.
func TestLast(t *testing.T) {
	now := time.Unix(1e9, 0)
	log := newPaperLog()
	log.append([]string{"p/1", "q/1", "p/2", "pp/9", "p"}, now.Add(-time.Minute).UnixNano())
	log.append([]string{"q/2", "", "q/3"}, now.UnixNano())
	cfg := messages.TopicConfig{DedupeWindow: time.Hour, DedupeRecords: 100}
	for producer, want := range map[string]string{"p": "p/2", "q": "q/3", "pp": "pp/9", "r": "", "q/2": ""} {
		l := NewLast(producer, cfg, now)
		log.show(l)
		if id, _, err := l.Found(); id != want || err != nil {
			t.Errorf("the last id of %s is %q, %v; want %q", producer, id, err, want)
		}
	}
	for _, small := range []messages.TopicConfig{{DedupeWindow: time.Second, DedupeRecords: 100}, {DedupeWindow: time.Hour, DedupeRecords: 3}} {
		l := NewLast("p", small, now)
		log.show(l)
		if id, _, _ := l.Found(); id != "" {
			t.Errorf("%+v: found %q beyond the window", small, id)
		}
	}
}
