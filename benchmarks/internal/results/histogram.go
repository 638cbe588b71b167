package results

// Latencies as they are kept.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Histogram is a latency in microseconds, from 1 µs to a minute, to three digits. In
// JSON it is HdrHistogram's V2 encoding, compressed, in base64, which the tools of
// every language read. It is used by one goroutine at a time.
type Histogram struct{ h *hdrhistogram.Histogram }

const (
	least  = 1
	most   = int64(time.Minute / time.Microsecond)
	digits = 3
)

// NewHistogram returns an empty one.
func NewHistogram() *Histogram { return &Histogram{hdrhistogram.New(least, most, digits)} }

// Note enters one latency. What takes longer than a minute counts as a minute,
// and less than a microsecond as one.
func (h *Histogram) Note(d time.Duration) {
	_ = h.h.RecordValue(min(max(least, d.Microseconds()), most)) // it is in range
}

// Merge adds all of o.
func (h *Histogram) Merge(o *Histogram) { h.h.Merge(o.h) }

// Count is how many were entered.
func (h *Histogram) Count() int64 { return h.h.TotalCount() }

// At is the latency that percent of all do not exceed, in microseconds.
func (h *Histogram) At(percent float64) float64 { return float64(h.h.ValueAtQuantile(percent)) }

// Max is the longest, in microseconds.
func (h *Histogram) Max() float64 { return float64(h.h.Max()) }

// Mean is in microseconds.
func (h *Histogram) Mean() float64 { return h.h.Mean() }

// Encoded is the histogram as JSON has it.
func (h *Histogram) Encoded() ([]byte, error) {
	return h.h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
}

// MarshalJSON is json.Marshaler's.
func (h *Histogram) MarshalJSON() ([]byte, error) {
	encoded, err := h.Encoded()
	if err != nil {
		return nil, err
	}
	return json.Marshal(string(encoded))
}

// UnmarshalJSON is json.Unmarshaler's.
func (h *Histogram) UnmarshalJSON(text []byte) error {
	var encoded string
	if err := json.Unmarshal(text, &encoded); err != nil {
		return err
	}
	decoded, err := hdrhistogram.Decode([]byte(encoded))
	if err != nil {
		return fmt.Errorf("decode a histogram: %w", err)
	}
	if decoded == nil {
		return errors.New("decode a histogram: it is empty")
	}
	h.h = decoded
	return nil
}

// WriteLog writes latencies of one run, which began then and took so long, as an
// HdrHistogram log: one line for each, tagged with what was timed. Its values are
// microseconds; the maximum beside them is in seconds.
func WriteLog(w io.Writer, began time.Time, took time.Duration, latencies map[string]*Histogram) error {
	log := hdrhistogram.NewHistogramLogWriter(w)
	err := errors.Join(log.OutputComment("latencies in microseconds"), log.OutputLogFormatVersion(), log.OutputStartTime(began.UnixMilli()), log.OutputLegend())
	for _, what := range slices.Sorted(maps.Keys(latencies)) {
		h := latencies[what].h
		h.SetTag(what)
		h.SetStartTimeMs(began.UnixMilli())
		h.SetEndTimeMs(began.Add(took).UnixMilli())
		err = errors.Join(err, log.OutputIntervalHistogram(h))
	}
	return err
}
