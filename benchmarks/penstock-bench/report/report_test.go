package report

import (
	"bytes"
	"fmt"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sampled is a file with a series of sizes and one of rates, each in rounds.
func sampled(rounds int, speed float64) *results.File {
	f := &results.File{
		Load: 3, Schema: results.Schema, Suite: "full", Began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Seconds: 3, Commit: "abc1234",
		Machine: results.Machine{CPU: "a processor", Cores: 2, Memory: 8 << 30, OS: "linux", Arch: "amd64", Kernel: "6.1", Go: "go1.26"},
		Comparisons: []results.Comparison{
			{ID: "pipe.tcp.64B.vs.mangos", Peer: "mangos", Unit: "msg/s", Ours: []float64{3e6, 5e6, 4e6}, Theirs: []float64{1e6, 1e6, 1e6}, Target: 5},
			{ID: "pipe.lone.p50.vs.mangos", Peer: "mangos", Unit: "us", Less: true, Ours: []float64{60}, Theirs: []float64{50}, Target: 1.5},
		},
		Skipped: []results.Skip{{ID: "pipe.tcp.64B.vs.zmq", Why: "built without libzmq"}},
	}
	for round := range rounds {
		for _, killed := range []string{"member", "etcd"} {
			f.Runs = append(f.Runs, results.Run{
				ID: "recovery." + killed, Series: "recovery", System: "penstock", Round: round + 1,
				Figures: map[results.Figure]float64{results.RecoveryMS: float64(len(killed))}, Check: results.Check{Sent: 1},
			}, results.Run{
				ID: "scale." + killed, Series: "scale", System: "penstock", Round: round + 1,
				Figures: map[results.Figure]float64{results.HeapEach: 2048}, Check: results.Check{Sent: 1},
			})
		}
		for _, size := range []int{64, 1024} {
			f.Runs = append(f.Runs, results.Run{
				ID: fmt.Sprintf("pipe.size.%d", size), Series: "pipe.size", System: "penstock", Round: round + 1,
				Settings: map[string]string{"size": fmt.Sprint(size)},
				Figures:  map[results.Figure]float64{results.PerSecond: (speed + float64(round)) / float64(size), results.MBPerSecond: 100, results.CPU: 500},
				Check:    results.Check{Sent: 1},
			})
		}
		for _, rate := range []float64{100, 1000} {
			h := results.NewHistogram()
			for i := range 2000 {
				h.Note(time.Duration(i+int(rate)) * time.Microsecond)
			}
			f.Runs = append(f.Runs, results.Run{
				ID: fmt.Sprintf("pipe.open.%g", rate), Series: "pipe.open", System: "penstock", Round: round + 1,
				Figures:   map[results.Figure]float64{results.PerSecond: rate, results.Offered: rate},
				Latencies: map[string]*results.Histogram{"handled": h, "accepted": h}, Check: results.Check{Sent: 1},
			})
		}
	}
	return f
}

func TestWriteDrawsWhatThereIs(t *testing.T) {
	dir := t.TempDir()
	written, err := Write(dir, sampled(3, 1e6))
	if err != nil {
		t.Fatal(err)
	}
	if len(written) != 8*2+1 {
		t.Errorf("%d files, want three charts of sizes, two of rates, one beside peers, two of bars, and the text: %v", len(written), written)
	}
	for _, path := range written {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		switch filepath.Ext(path) {
		case ".png":
			if _, err := png.Decode(bytes.NewReader(content)); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		case ".svg":
			if !bytes.Contains(content, []byte("</svg>")) {
				t.Errorf("%s is no picture", path)
			}
		default:
			for _, part := range []string{
				"abc1234", "its load average was 3.0", "a processor, 2 cores", "| pipe.tcp.64B.vs.mangos | 4e+06 | 1e+06 | msg/s | 4.00 | ≥ 5 | MISSED |",
				"| pipe.lone.p50.vs.mangos | 60 | 50 | us | 1.20 | ≤ 1.5 | met |", "(pipe.open.latency.svg)", "(pipe.open.sweep.svg)",
				"`pipe.tcp.64B.vs.zmq`: built without libzmq", "| pipe.open.1000 | penstock | 3 | 1000 |",
			} {
				if !bytes.Contains(content, []byte(part)) {
					t.Errorf("the text lacks %q:\n%s", part, content)
				}
			}
		}
	}
}

// Bars for each system that was compared at a size.
func TestComparisonsBySize(t *testing.T) {
	f := sampled(1, 1)
	f.Comparisons = f.Comparisons[1:] // latencies have no size
	if got := beside(f); len(got) != 0 {
		t.Errorf("no size is a chart: %v", got)
	}
	f.Comparisons = append(f.Comparisons,
		results.Comparison{ID: "pipe.tcp.1KiB.vs.mangos", Peer: "mangos", Unit: "msg/s", Ours: []float64{5}, Theirs: []float64{4}},
		results.Comparison{ID: "pipe.tcp.1MiB.vs.zmq", Peer: "zmq", Unit: "msg/s", Ours: []float64{5}}) // not here
	if got := beside(f); len(got) != 1 || got[0].file != "pipe.beside" {
		t.Errorf("want one chart of pipes: %v", got)
	} else if min, max := got[0].plot.Y.Min, got[0].plot.Y.Max; min != 0 || max != 1 {
		t.Errorf("the bars are from %g to %g, want Penstock's as 1 and the highest", min, max)
	}
	for name, want := range map[string]float64{"64B": 64, "16KiB": 16 << 10, "1MiB": 1 << 20, "lone": 0, "B": 0, "64part": 0} {
		if got := sizeOf(name); got != want {
			t.Errorf("%s is %g bytes, want %g", name, got, want)
		}
	}
}

func TestNothingToDraw(t *testing.T) {
	f := sampled(1, 1)
	for i := range f.Runs {
		f.Runs[i].Check.Lost = 1
	}
	f.Comparisons = nil
	written, err := Write(t.TempDir(), f)
	if err != nil || len(written) != 1 {
		t.Fatalf("%v, %v, want the text alone", written, err)
	}
	if text, _ := os.ReadFile(written[0]); !bytes.Contains(text, []byte("0, 1 FAILED")) {
		t.Errorf("failed runs are not shown:\n%s", text)
	}
}

func TestCompareFindsWhatDiffers(t *testing.T) {
	var out strings.Builder
	if err := Compare(&out, sampled(8, 1e6), sampled(8, 2e6)); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"+100.00%", "p=0.000 n=8", "mb_per_s"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no %q in\n%s", part, out.String())
		}
	}
	out.Reset()
	if err := Compare(&out, sampled(8, 1e6), sampled(8, 1e6)); err != nil || strings.Contains(out.String(), "%  p=") && strings.Contains(out.String(), "+") {
		t.Errorf("%v\n%s", err, out.String())
	}
	if err := Compare(&out, sampled(1, 1), &results.File{Machine: sampled(1, 1).Machine}); err == nil {
		t.Error("files with nothing in common are compared")
	}
}

func TestJoinAddsRounds(t *testing.T) {
	sum, err := Join([]*results.File{sampled(2, 1e6), sampled(3, 1e6)})
	if err != nil || len(sum.Runs) != 40 || len(sum.Comparisons) != 2 || len(sum.Comparisons[0].Ours) != 6 {
		t.Errorf("%+v, %v", sum, err)
	}
	other := sampled(1, 1)
	other.Machine.Cores = 64
	if _, err := Join([]*results.File{sampled(1, 1), other}); err == nil {
		t.Error("two machines count as one")
	}
}
