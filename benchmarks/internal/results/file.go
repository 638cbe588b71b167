package results

// What a file holds.

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Schema is the version of the format. It changes when an older reader would
// misunderstand a file; fields are added without a change.
const Schema = 1

// File is one use of a suite.
type File struct {
	Schema   int               `json:"schema"`
	Suite    string            `json:"suite"` // quick or full, or the command that ran it
	Began    time.Time         `json:"began"`
	Seconds  float64           `json:"seconds"`
	Commit   string            `json:"commit,omitempty"` // of Penstock; short
	Modified bool              `json:"modified,omitempty"`
	Load     float64           `json:"load,omitempty"` // average of the minute before it began: what else the machine did
	Machine  Machine           `json:"machine"`
	Versions map[string]string `json:"versions,omitempty"` // of the modules of each system, by module path
	Peers    map[string]string `json:"peers,omitempty"`    // the settings of each peer, in words

	Runs        []Run        `json:"runs,omitempty"`
	Comparisons []Comparison `json:"comparisons,omitempty"`
	Skipped     []Skip       `json:"skipped,omitempty"`
}

// Machine is what the suite ran on.
type Machine struct {
	CPU    string `json:"cpu,omitempty"`
	Cores  int    `json:"cores"`
	Memory uint64 `json:"memory_bytes,omitempty"`
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	Kernel string `json:"kernel,omitempty"`
	Go     string `json:"go"`
}

// Run is one run of one scenario by one system.
type Run struct {
	ID       string            `json:"id,omitempty"`     // of the scenario, such as pipe.size.1KiB
	Series   string            `json:"series,omitempty"` // the scenarios that vary one factor, such as pipe.size
	System   string            `json:"system"`           // penstock, or a peer
	Round    int               `json:"round"`            // from 1; runs of one round see the same machine
	Settings map[string]string `json:"settings,omitempty"`

	Figures   map[Figure]float64    `json:"figures,omitempty"`
	Latencies map[string]*Histogram `json:"latencies,omitempty"` // by what was timed: handled, committed, lone
	Check     Check                 `json:"check"`
	Error     string                `json:"error,omitempty"` // why it is a failed run; its figures count for nothing
}

// Number is a setting as a number, 0 when there is none such.
func (r Run) Number(setting string) float64 {
	n, err := strconv.ParseFloat(r.Settings[setting], 64)
	if err != nil {
		return 0
	}
	return n
}

// Failed reports whether the run's figures count for nothing.
func (r Run) Failed() bool { return r.Error != "" || r.Check.Wrong() }

// Figure names one measure. The names end in the unit.
type Figure string

// The figures of runs.
const (
	PerSecond   Figure = "messages_per_s" // sent and acknowledged, or put and committed
	MBPerSecond Figure = "mb_per_s"       // 10^6 bytes of payload
	Consumed    Figure = "consumed_per_s" // records a second of each group
	CPU         Figure = "cpu_ns_per_message"
	Allocs      Figure = "allocs_per_message"
	AllocBytes  Figure = "alloc_bytes_per_message"
	WireBytes   Figure = "wire_bytes_per_message"
	Fsyncs      Figure = "fsyncs_per_message"
	Offered     Figure = "offered_per_s" // of a run that keeps to a timetable
	RSS         Figure = "rss_bytes"
	EtcdRSS     Figure = "etcd_rss_bytes"

	RecoveryMS   Figure = "recovery_ms"   // from a death to its end
	ReadyMS      Figure = "ready_ms"      // until all of something was there
	HeapEach     Figure = "heap_bytes"    // of each of many
	Goroutines   Figure = "goroutines"    // of each of many
	RequestsEach Figure = "etcd_requests" // for each of many
)

// Less reports whether less of it is better.
func (f Figure) Less() bool {
	switch f {
	case PerSecond, MBPerSecond, Consumed, Offered:
		return false
	default:
		return true
	}
}

// Check is what became of the messages of a run.
type Check struct {
	Sent        uint64 `json:"sent"`
	Lost        uint64 `json:"lost"`
	Duplicates  uint64 `json:"duplicates"`
	Disordered  uint64 `json:"disordered"`
	Redelivered uint64 `json:"redelivered,omitempty"`
}

// Wrong reports whether messages were lost, doubled or out of order.
func (c Check) Wrong() bool { return c.Lost > 0 || c.Duplicates > 0 || c.Disordered > 0 }

// Add adds what was found of another part of the same run, all but what was sent: several
// groups get the same messages.
func (c *Check) Add(part Check) {
	c.Lost += part.Lost
	c.Duplicates += part.Duplicates
	c.Disordered += part.Disordered
	c.Redelivered += part.Redelivered
}

// Comparison is ours beside a peer's, in runs that took turns.
type Comparison struct {
	ID     string    `json:"id"`
	Peer   string    `json:"peer"`
	Unit   string    `json:"unit"`
	Ours   []float64 `json:"ours"`             // of each run, in order
	Theirs []float64 `json:"theirs"`           // empty when the peer is not here
	Target float64   `json:"target"`           // of the ratio; 0 for none
	Less   bool      `json:"less,omitempty"`   // less is better
	Note   string    `json:"note,omitempty"`   // more about both sides
	Took   Pair      `json:"took,omitzero"`    // each latency, where latencies are compared
	Error  string    `json:"error,omitempty"`  // why there is no peer, or why it failed
	Failed bool      `json:"failed,omitempty"` // a side lost, doubled, disordered or damaged messages, or did not run

	Placement string `json:"placement,omitempty"` // which ends are processes of their own
}

// Pair is the latencies of both sides of a comparison.
type Pair struct {
	Ours   *Histogram `json:"ours,omitempty"`
	Theirs *Histogram `json:"theirs,omitempty"`
}

// Medians returns the middle of either side's runs, 0 for a side without any.
func (c Comparison) Medians() (ours, theirs float64) { return Median(c.Ours), Median(c.Theirs) }

// Verdict is how a comparison stands to its target.
type Verdict string

// The verdicts.
const (
	Met         Verdict = "met"
	Missed      Verdict = "MISSED"
	Unavailable Verdict = "unavailable" // nothing to compare with
	Untargeted  Verdict = ""
)

// Judge compares the ratio with the target.
func (c Comparison) Judge() Verdict {
	ours, theirs := c.Medians()
	switch {
	case c.Error != "" || theirs == 0:
		return Unavailable
	case c.Target == 0:
		return Untargeted
	case c.Less == (ours/theirs > c.Target):
		return Missed
	default:
		return Met
	}
}

// Aim is the target as tables have it.
func (c Comparison) Aim() string {
	switch {
	case c.Target == 0:
		return ""
	case c.Less:
		return fmt.Sprintf("≤ %g", c.Target)
	default:
		return fmt.Sprintf("≥ %g", c.Target)
	}
}

// Line is what other programs read of a comparison.
func (c Comparison) Line() string {
	switch ours, theirs := c.Medians(); {
	case c.Failed:
		return fmt.Sprintf("FAILED %s %s", c.ID, inOneLine(c.Error))
	case c.Error != "":
		return Skip{c.ID, c.Error}.Line()
	case theirs == 0:
		return Skip{c.ID, "there is nothing to compare with"}.Line()
	default:
		return fmt.Sprintf("RATIO %s %.3f ours=%.4g peer=%.4g unit=%s", c.ID, ours/theirs, ours, theirs, c.Unit)
	}
}

// inOneLine is text without line breaks.
func inOneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// Skip is a comparison or a scenario that could not be run here.
type Skip struct {
	ID  string `json:"id"`
	Why string `json:"why"`
}

// Line is what other programs read of it.
func (s Skip) Line() string { return "SKIP " + s.ID + " " + inOneLine(s.Why) }

// Median is the middle of values, the mean of the middle two when their number
// is even, and 0 when there are none. values stay as they are.
func Median(values []float64) float64 {
	n := len(values)
	if n == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// check is what Decode requires besides JSON.
func (f *File) check() error {
	if f.Schema != Schema {
		return fmt.Errorf("the file has schema %d, and this program reads %d", f.Schema, Schema)
	}
	for i, r := range f.Runs {
		if r.ID == "" || r.System == "" {
			return fmt.Errorf("run %d has no id or no system", i)
		}
	}
	for i, c := range f.Comparisons {
		if c.ID == "" {
			return fmt.Errorf("comparison %d has no id", i)
		}
	}
	return nil
}

// Values are the figure f of all runs that did not fail, by the scenario's id and
// the system.
func (f *File) Values(figure Figure) map[Key][]float64 {
	out := map[Key][]float64{}
	for _, r := range f.Runs {
		if v, ok := r.Figures[figure]; ok && !r.Failed() {
			k := Key{r.ID, r.System}
			out[k] = append(out[k], v)
		}
	}
	return out
}

// Key is one scenario as one system runs it.
type Key struct{ ID, System string }

// Compare orders keys by scenario, then system.
func (k Key) Compare(o Key) int {
	return cmp.Or(cmp.Compare(k.ID, o.ID), cmp.Compare(k.System, o.System))
}
