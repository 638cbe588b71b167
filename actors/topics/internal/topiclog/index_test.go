package topiclog

// Where the index has no entry for what is asked.

import (
	"context"
	"errors"
	"testing"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/commitlog/format"
)

// growingIndex is the index of a log that grows after it was read.
type growingIndex struct {
	entries []format.Entry
	grows   []format.Entry // by these, after the first read
	end     int64          // said to be the end; that of the last entry unless set
}

func (x *growingIndex) Entries(_ context.Context, base int64, limit int) (got []format.Entry, err error) {
	for _, e := range x.entries {
		if e.Base >= base && len(got) < limit {
			got = append(got, e)
		}
	}
	x.entries, x.grows = append(x.entries, x.grows...), nil
	return got, nil
}

func (x *growingIndex) Locate(_ context.Context, offset int64) (int64, error) {
	for _, e := range x.entries {
		if e.Base <= offset && offset < e.End() {
			return e.Base, nil
		}
	}
	return offset, nil // of an entry that is missing, too, when the one before ends there
}

func (x *growingIndex) Bounds(context.Context) (start, end int64, err error) {
	return 0, max(x.end, x.entries[len(x.entries)-1].End()), nil
}

func TestIndexFrom(t *testing.T) {
	first, second := format.Entry{Base: 0, Count: 27}, format.Entry{Base: 27, Count: 5}
	for name, c := range map[string]struct {
		log    growingIndex
		offset int64
		want   error
	}{
		"there":                {growingIndex{entries: []format.Entry{first, second}}, 27, nil},
		"put while it looked":  {growingIndex{entries: []format.Entry{first}, grows: []format.Entry{second}}, 27, nil},
		"the end":              {growingIndex{entries: []format.Entry{first}}, 27, messages.ErrLogRolledBack},
		"missing":              {growingIndex{entries: []format.Entry{first}, end: 32}, 27, messages.ErrCorrupt},
		"in the middle, there": {growingIndex{entries: []format.Entry{first, second}}, 30, nil},
	} {
		t.Run(name, func(t *testing.T) {
			ask := &Fetch{Offset: c.offset, Base: 27}
			got, err := indexFrom(t.Context(), &c.log, ask)
			if !errors.Is(err, c.want) {
				t.Fatalf("%+v, %v; want %v", got, err, c.want)
			}
			if c.want == nil && (len(got) != 1 || !got[0].IsOf(second)) {
				t.Errorf("%+v, want %+v", got, second)
			}
		})
	}
}
