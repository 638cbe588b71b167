package bench

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loop hands every body to the receiver at once, as the test wants it changed.
type loop struct {
	to     *Receiver
	change func(i uint64, body []byte) [][]byte
}

func (l *loop) Send(_ context.Context, bodies *load.Bodies, from, to uint64) error {
	for i := from; i < to; i++ {
		out := [][]byte{append([]byte(nil), bodies.At(i)...)}
		if l.change != nil {
			out = l.change(i, out[0])
		}
		for _, body := range out {
			l.to.Take(body)
		}
	}
	return nil
}

func (l *loop) Settle(context.Context) (bool, error) { return false, nil }

func (l *loop) Close() error { return nil }

// faults are what a link can do to message 3, and what must be said of it.
var faults = []struct {
	name   string
	change func(body []byte) [][]byte
	want   string
}{
	{"lost", func([]byte) [][]byte { return nil }, "message 4 came where 3 was due"},
	{"twice", func(b []byte) [][]byte { return [][]byte{b, b} }, "message 3 came where 4 was due"},
	{"short", func(b []byte) [][]byte { return [][]byte{b[:len(b)-1]} }, "bytes"},
	{"altered at its start", func(b []byte) [][]byte { b[8]++; return [][]byte{b} }, "other content"},
	{"altered at its end", func(b []byte) [][]byte { b[len(b)-1]++; return [][]byte{b} }, "other content"},
	{"of another", func(b []byte) [][]byte { copy(b[8:], make([]byte, 64)); return [][]byte{b} }, "other content"},
}

func TestFaultsEndARun(t *testing.T) {
	for _, f := range faults {
		for _, size := range []int{load.MinBody + 64, 4096} {
			t.Run(f.name, func(t *testing.T) {
				change := func(i uint64, body []byte) [][]byte {
					if i == 3 {
						return f.change(body)
					}
					return [][]byte{body}
				}
				to := NewReceiver()
				_, err := Rate(t.Context(), &loop{to, change}, to, load.NewBodies(size), 10)
				if err == nil || !strings.Contains(err.Error(), f.want) {
					t.Errorf("rate: got %v, want %q", err, f.want)
				}
				to = NewReceiver()
				ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
				defer cancel()
				if _, err := Lone(ctx, &loop{to, change}, to, load.NewBodies(size), 10, time.Microsecond); err == nil {
					t.Error("lone: no error")
				}
			})
		}
	}
}

func TestLastMessageLost(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	to := NewReceiver()
	link := &loop{to, func(i uint64, body []byte) [][]byte {
		if i == 9 {
			return nil
		}
		return [][]byte{body}
	}}
	if _, err := Rate(ctx, link, to, load.NewBodies(64), 10); err == nil || !strings.Contains(err.Error(), "not all of 10") {
		t.Errorf("got %v", err)
	}
}

// A message that comes again after the last of its run belongs to no run.
func TestStrayEndsTheNextRun(t *testing.T) {
	to := NewReceiver()
	link := &loop{to: to, change: func(i uint64, body []byte) [][]byte {
		if i == 9 {
			return [][]byte{body, body}
		}
		return [][]byte{body}
	}}
	if _, err := Rate(t.Context(), link, to, load.NewBodies(64), 10); err != nil {
		t.Fatal(err)
	}
	if _, err := Rate(t.Context(), link, to, load.NewBodies(64), 10); err == nil || !strings.Contains(err.Error(), "after the last of its run") {
		t.Errorf("got %v", err)
	}
}

func TestLinksCarryEverything(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	open := map[string]func(*Receiver) (Link, error){
		"penstock": func(r *Receiver) (Link, error) { return Penstock(ctx, r, nil) },
		"mangos":   func(r *Receiver) (Link, error) { return Mangos(ctx, r) },
	}
	for name, open := range open {
		t.Run(name, func(t *testing.T) {
			to := NewReceiver()
			link, err := open(to)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := link.Close(); err != nil {
					t.Errorf("close: %v", err)
				}
			}()
			for _, size := range []int{64, 1 << 10, 64 << 10} {
				rate, err := Rate(ctx, link, to, load.NewBodies(size), uint64(32<<20/size/8))
				if err != nil {
					t.Fatalf("%d bytes: %v", size, err)
				}
				if rate <= 0 {
					t.Errorf("%d bytes: %g messages/s", size, rate)
				}
			}
			took, err := Lone(ctx, link, to, load.NewBodies(64), 20, time.Millisecond)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range took {
				if d <= 0 || len(took) != 20 {
					t.Fatalf("took %v", took)
				}
			}
		})
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		in   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := Median(c.in); got != c.want {
			t.Errorf("median of %v: got %g, want %g", c.in, got, c.want)
		}
	}
}
