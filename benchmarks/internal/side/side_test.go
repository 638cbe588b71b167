package side

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

func TestMain(m *testing.M) {
	Main(map[string]System{
		"performs": {Perform: func(context.Context, Place) (Performer, error) { return performer{}, nil }},
		"missing":  {Broker: func(context.Context) (Broker, error) { return nil, fmt.Errorf("%w: no such program", ErrMissing) }},
		"refuses":  {Perform: func(context.Context, Place) (Performer, error) { return performer{errors.New("it refuses")}, nil }},
		"dies":     {Perform: func(context.Context, Place) (Performer, error) { return dying{}, nil }},
		"hangs":    {Perform: func(context.Context, Place) (Performer, error) { return hanging{}, nil }},
	})
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // of the ends, which are many
	goleak.VerifyTestMain(m)
}

type performer struct{ err error }

func (p performer) Perform(context.Context, int) error { return p.err }
func (performer) Close() error                         { return nil }

type dying struct{ performer }

func (dying) Perform(context.Context, int) error { os.Exit(3); return nil }

type hanging struct{ performer }

func (hanging) Perform(ctx context.Context, _ int) error { <-ctx.Done(); return context.Cause(ctx) }

func self(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func started(t *testing.T, system string) *Side {
	t.Helper()
	s, err := Start(t.Context(), self(t), system, Place{}, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestProcessesAnswer(t *testing.T) {
	s := started(t, "performs")
	for range 2 {
		if out, err := s.Run(t.Context(), Run{Way: Flat, For: time.Millisecond}); err != nil || out.Count < step || out.PerSec <= 0 {
			t.Errorf("%+v, %v", out, err)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestProcessesFail(t *testing.T) {
	for system, want := range map[string]string{"refuses": "it refuses", "dies": "it is gone"} {
		s := started(t, system)
		if _, err := s.Run(t.Context(), Run{Way: Flat, For: time.Millisecond}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", system, err)
		}
		if err := s.Close(); (err != nil) != (system == "dies") {
			t.Errorf("%s: close: %v", system, err)
		}
	}
	s := started(t, "hangs")
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Run(ctx, Run{Way: Flat, For: time.Millisecond}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a run that hangs: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("it does not end with who asks: %v", err)
	}
}

func TestWhatIsNotHere(t *testing.T) {
	if _, err := Start(t.Context(), self(t), "missing", Place{}, io.Discard); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), "no such program") {
		t.Errorf("a system that is missing: %v", err)
	}
	if _, err := Start(t.Context(), self(t), "unheard-of", Place{}, io.Discard); err == nil || errors.Is(err, ErrMissing) {
		t.Errorf("a system that nobody knows: %v", err)
	}
	if _, err := Start(t.Context(), t.TempDir()+"/nothing", "performs", Place{}, io.Discard); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program that is missing: %v", err)
	}
}

// faults are what can become of message 3, and what must be said of it.
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
	{"last of another", func(b []byte) [][]byte { b[lastAt] |= lastBit; b[9]++; return [][]byte{b} }, "other content"},
}

func TestReceiverSeesFaults(t *testing.T) {
	const count = 10
	for _, f := range faults {
		for _, size := range []int{load.MinBody + 64, 4096} {
			t.Run(fmt.Sprintf("%s, %d bytes", f.name, size), func(t *testing.T) {
				r, bodies := newReceiver(), load.NewBodies(size)
				run := r.expect(Run{Way: Flat, Size: size})
				for i := range uint64(count) {
					out := [][]byte{append([]byte(nil), bodies.At(i)...)}
					if i == 3 {
						out = f.change(out[0])
					}
					for _, body := range out {
						r.Take(body)
					}
				}
				if _, err := run.wait(t.Context()); err == nil || !strings.Contains(err.Error(), f.want) {
					t.Errorf("got %v, want %q", err, f.want)
				}
			})
		}
	}
}

func TestReceiverCounts(t *testing.T) {
	r, bodies := newReceiver(), load.NewBodies(64)
	for range 2 {
		run := r.expect(Run{Way: Flat, Size: 64})
		for i := range uint64(5) {
			r.Take(bodies.At(i))
		}
		r.Take(asLast(bodies, 5))
		if a, err := run.wait(t.Context()); err != nil || a.Count != 6 {
			t.Errorf("%+v, %v", a, err)
		}
	}
	// The last message of a run may be lost.
	run := r.expect(Run{Way: Flat, Size: 64})
	r.Take(bodies.At(0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := run.wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a run without its last: %v", err)
	}
}

// A message that comes again after the last of its run belongs to no run.
func TestStrayFailsTheNextRun(t *testing.T) {
	r, bodies := newReceiver(), load.NewBodies(64)
	run := r.expect(Run{Way: Flat, Size: 64})
	r.Take(asLast(bodies, 0))
	r.Take(asLast(bodies, 0))
	if _, err := run.wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	run = r.expect(Run{Way: Flat, Size: 64})
	r.Take(bodies.At(0))
	if _, err := run.wait(t.Context()); err == nil || !strings.Contains(err.Error(), "after the last of its run") {
		t.Errorf("got %v", err)
	}
}

// A paced run counts from the moments that messages were due at, the first fifth apart.
func TestPacedRunsCountFromWhenMessagesWereDue(t *testing.T) {
	r := newReceiver()
	want := Run{Way: Paced, Size: 64, Rate: 1000, For: 10 * time.Millisecond}.known()
	run := r.expect(want)
	record := make([]byte, 64)
	for i := range want.Count {
		due := time.Now().Add(-time.Second)
		if i < want.warm() {
			due = due.Add(-time.Hour)
		}
		load.Fill(record, i, uint64(due.UnixNano()))
		r.Take(record)
	}
	a, err := run.wait(t.Context())
	if err != nil || a.Took.Count() != 8 || a.Took.At(50) < 1e6 || a.Took.Max() > 1e9 {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestServeRefusesWhatItDoesNotKnow(t *testing.T) {
	systems := map[string]System{"performs": {Perform: func(context.Context, Place) (Performer, error) { return performer{}, nil }}}
	for in, want := range map[string]string{
		`{"op":"open"}{"op":"compact"}`: `operation \"compact\"`,
		`{"op":"open"}{"op":"sum"}`:     `operation \"sum\"`,
	} {
		var out strings.Builder
		if err := serve(t.Context(), strings.NewReader(in), &out, systems, "performs", rolePerform, func() {}); err != nil {
			t.Error(err)
		}
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s: %s", in, out.String())
		}
	}
	if err := serve(t.Context(), strings.NewReader(""), io.Discard, systems, "nothing", rolePerform, func() {}); err == nil {
		t.Error("a system that nobody knows is served")
	}
}
