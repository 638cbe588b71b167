package results

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"pgregory.net/rapid"
)

// sample has each kind of entry once.
func sample() *File {
	h := NewHistogram()
	for i := range 1000 {
		h.Note(time.Duration(i*i) * time.Microsecond)
	}
	return &File{
		Schema: Schema, Suite: "quick", Began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Seconds: 1.5, Commit: "abc1234",
		Machine:  Machine{CPU: "a processor", Cores: 2, Memory: 1 << 33, OS: "linux", Arch: "amd64", Kernel: "6.1", Go: "go1.26"},
		Versions: map[string]string{"go.nanomsg.org/mangos/v3": "v3.4.2"},
		Peers:    map[string]string{"mangos": "its defaults"},
		Runs: []Run{{
			ID: "pipe.size.1KiB", Series: "pipe.size", System: "penstock", Round: 1, Settings: map[string]string{"size": "1024"},
			Figures: map[Figure]float64{PerSecond: 1e6}, Latencies: map[string]*Histogram{"handled": h}, Check: Check{Sent: 1000},
		}},
		Comparisons: []Comparison{{ID: "pipe.tcp.64B.vs.mangos", Peer: "mangos", Unit: "msg/s", Ours: []float64{3, 1, 2}, Theirs: []float64{1, 1}, Target: 1.5}},
		Skipped:     []Skip{{ID: "pipe.tcp.64B.vs.zmq", Why: "built without libzmq"}},
	}
}

func TestFilesAreReadAsTheyWereWritten(t *testing.T) {
	want := sample()
	path, err := Store(t.TempDir(), want)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(path, "/2026-01-02-abc1234.json") {
		t.Errorf("it is stored as %s", path)
	}
	got, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	a, b := want.Runs[0].Latencies["handled"], got.Runs[0].Latencies["handled"]
	for _, p := range []float64{0, 50, 99, 99.9, 100} {
		if a.At(p) != b.At(p) {
			t.Errorf("p%g is %g, %g was stored", p, b.At(p), a.At(p))
		}
	}
	if a.Count() != b.Count() || a.Max() != b.Max() {
		t.Errorf("%d latencies of at most %g, want %d and %g", b.Count(), b.Max(), a.Count(), a.Max())
	}
	want.Runs[0].Latencies, got.Runs[0].Latencies = nil, nil
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestStoreKeepsWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	for _, want := range []string{"-abc1234.json", "-abc1234-2.json", "-abc1234-3.json"} {
		if path, err := Store(dir, sample()); err != nil || !strings.HasSuffix(path, want) {
			t.Errorf("%s, %v, want a path that ends in %s", path, err, want)
		}
	}
}

// Every histogram survives, whatever was entered.
func TestHistogramsSurvive(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := NewHistogram()
		for _, d := range rapid.SliceOfN(rapid.Int64Range(-1, int64(2*time.Minute)), 0, 50).Draw(t, "latencies") {
			h.Note(time.Duration(d))
		}
		text, err := h.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		var got Histogram
		if err := got.UnmarshalJSON(text); err != nil {
			t.Fatal(err)
		}
		if !got.h.Equals(h.h) {
			t.Fatalf("%d latencies, %d were entered", got.Count(), h.Count())
		}
	})
}

func TestLogsAreReadByHdrHistogram(t *testing.T) {
	var b bytes.Buffer
	want := sample().Runs[0].Latencies
	if err := WriteLog(&b, time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), time.Minute, want); err != nil {
		t.Fatal(err)
	}
	got, err := hdrhistogram.NewHistogramLogReader(&b).NextIntervalHistogram()
	if err != nil || got == nil || got.Tag() != "handled" || got.TotalCount() != 1000 || got.Max() != int64(want["handled"].Max()) {
		t.Errorf("read %+v, %v", got, err)
	}
}

func TestDecodeRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"another schema":     `{"schema": 2}`,
		"no schema":          `{}`,
		"no JSON":            `RATIO`,
		"a run of nobody":    `{"schema": 1, "runs": [{"id": "x"}]}`,
		"a nameless ratio":   `{"schema": 1, "comparisons": [{}]}`,
		"a broken histogram": `{"schema": 1, "runs": [{"id": "x", "system": "y", "latencies": {"lone": "AAAA"}}]}`,
	} {
		if f, err := Decode(strings.NewReader(text)); err == nil {
			t.Errorf("%s is taken: %+v", name, f)
		}
	}
	if _, err := Decode(strings.NewReader(`{"schema": 1, "later": true}`)); err != nil {
		t.Errorf("a field of later: %v", err)
	}
}

func TestLines(t *testing.T) {
	c := sample().Comparisons[0]
	if got, want := c.Line(), "RATIO pipe.tcp.64B.vs.mangos 2.000 ours=2 peer=1 unit=msg/s"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c.Theirs = nil
	if got, want := c.Line(), "SKIP pipe.tcp.64B.vs.mangos there is nothing to compare with"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c.Error = "it is\nnot here"
	if got, want := c.Line(), "SKIP pipe.tcp.64B.vs.mangos it is not here"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	c.Theirs, c.Failed = []float64{1}, true
	if got, want := c.Line(), "FAILED pipe.tcp.64B.vs.mangos it is not here"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := c.Judge(); got != Unavailable {
		t.Errorf("a failed comparison is %s", got)
	}
	if !reflect.DeepEqual(c.Ours, []float64{3, 1, 2}) {
		t.Errorf("the order of runs is lost: %v", c.Ours)
	}
}

func TestFailedRunsDoNotCount(t *testing.T) {
	f := sample()
	bad := f.Runs[0]
	bad.Check.Lost = 1
	worse := f.Runs[0]
	worse.Error = "the link broke"
	f.Runs = append(f.Runs, bad, worse)
	if got := f.Values(PerSecond)[Key{"pipe.size.1KiB", "penstock"}]; len(got) != 1 {
		t.Errorf("%d runs count", len(got))
	}
}

// Whatever a file contains, Decode returns an error or a file that is written and
// read again.
func FuzzDecode(f *testing.F) {
	var b bytes.Buffer
	if err := Encode(&b, sample()); err != nil {
		f.Fatal(err)
	}
	f.Add(b.Bytes())
	f.Add([]byte(`{"schema": 1}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		file, err := Decode(bytes.NewReader(text))
		if err != nil {
			return
		}
		var again bytes.Buffer
		if err := Encode(&again, file); err != nil {
			t.Fatal(err)
		}
		if _, err := Decode(&again); err != nil {
			t.Fatal(err)
		}
	})
}
