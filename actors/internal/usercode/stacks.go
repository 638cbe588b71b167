package usercode

// The stacks of handlers that stand still. A handler's goroutine has a label, by which it
// is found in a profile of all goroutines.

import (
	"bytes"
	"context"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// LargestStack bounds the text of one handler's stacks, in bytes.
	LargestStack = 16 << 10

	// stacksEvery is how old a profile may be that is used again. It stops all goroutines
	// for a moment, and is walked once for all handlers.
	stacksEvery = time.Second
	// stacksApart is how old it is when another is taken for a handler that began after it.
	stacksApart = 50 * time.Millisecond
	// stacksAtOnce is how many stacks are given out of one profile.
	stacksAtOnce = 16
	// largestProfile bounds the text that is searched.
	largestProfile = 16 << 20
)

// handlerLabel is the label of a handler's goroutine, and of those that it begins.
const handlerLabel = "penstock_handler"

// stacks is a profile of the goroutines with that label.
type stacks struct {
	mu      sync.Mutex
	taken   time.Time
	byLabel map[string][]string // the worker's own first
	left    int                 // that are given out yet
}

// Label gives this goroutine, and those that it begins, a label that no other one has.
// It shows in profiles, with what. The context that it returns is for the user's
// function; restore ends it.
func (rs *Runs) Label(ctx context.Context, what string) (labelled context.Context, label string, restore func()) {
	if rs == nil {
		return ctx, "", func() {}
	}
	label = what + "#" + strconv.FormatUint(rs.labels.Add(1), 10)
	labelled = pprof.WithLabels(ctx, pprof.Labels(handlerLabel, label))
	pprof.SetGoroutineLabels(labelled)
	return labelled, label, func() { pprof.SetGoroutineLabels(ctx) }
}

// Stack returns where the goroutine with that label stands, or stood at some time after
// since, and behind it those that it began, at most LargestStack bytes. It is empty when the
// goroutine is gone or has other labels now, when stacksAtOnce were given out of a profile
// that is used again, and when the last profile is from before since and too young for
// another. It takes some milliseconds, and more with very many goroutines.
func (rs *Runs) Stack(label string, since time.Time) string {
	if rs == nil {
		return ""
	}
	s := &rs.stacks
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	stale := s.taken.Before(since)
	if age := now.Sub(s.taken); s.byLabel == nil || age >= stacksEvery || stale && age >= stacksApart {
		s.taken, s.byLabel, s.left = now, labelled(goroutines()), stacksAtOnce
	} else if stale {
		return ""
	}
	if s.left == 0 {
		return ""
	}
	found := strings.Join(s.byLabel[label], "\n")
	if found != "" {
		s.left--
	}
	return strings.ToValidUTF8(found[:min(len(found), LargestStack)], "")
}

// capped is a buffer that takes no more than largestProfile.
type capped struct{ bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	c.Buffer.Write(p[:min(len(p), largestProfile-c.Len())])
	return len(p), nil
}

// goroutines is the profile of all goroutines, as text.
func goroutines() string {
	var out capped
	if err := pprof.Lookup("goroutine").WriteTo(&out, 1); err != nil {
		return ""
	}
	return out.String()
}

// labelled reads the stacks of goroutines with our label: a block of lines each, which
// begins with how many goroutines it is of, and has its labels next.
//
//	1 @ 0x47a1ce 0x4e2f31
//	# labels: {"penstock_handler":"orders/billing#1"}
//	#	0x4e2f30	main.handle+0x30	/src/main.go:12
func labelled(profile string) map[string][]string {
	out := make(map[string][]string)
	for block := range strings.SplitSeq(profile, "\n\n") {
		_, rest, ok := strings.Cut(block, "# labels: {")
		if !ok {
			continue
		}
		labels, frames, _ := strings.Cut(rest, "\n")
		_, value, ok := strings.Cut(labels, strconv.Quote(handlerLabel)+":")
		if !ok {
			continue
		}
		quoted, err := strconv.QuotedPrefix(value)
		if err != nil {
			continue
		}
		label, err := strconv.Unquote(quoted)
		if err != nil {
			continue
		}
		stack := readable(frames)
		if strings.Contains(frames, workFrame) {
			out[label] = slices.Insert(out[label], 0, stack)
		} else {
			out[label] = append(out[label], stack)
		}
	}
	return out
}

// workFrame is on the stack of each worker, at the bottom.
const workFrame = ".(*Consumption).Work"

// readable has a frame a line: the function, and where in it.
func readable(frames string) string {
	var b strings.Builder
	for line := range strings.Lines(frames) {
		fields := strings.Fields(strings.TrimPrefix(line, "#"))
		if len(fields) == 3 && strings.HasPrefix(fields[0], "0x") {
			b.WriteString(fields[1] + " " + fields[2] + "\n")
		}
	}
	return b.String()
}
