package messages

// How often and when a failed message is tried again, what handles it, and
// where it goes in the end.

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Handler handles one message. A nil error acks it; an error or a panic nacks
// it, to be tried again. ctx ends when the message has been given to another
// member (AckWait) or consuming ends.
type Handler func(ctx context.Context, d Delivery) error

// RecordHandler handles one record. A nil error finishes it; an error or a panic
// lets it be tried again. ctx ends when the partition is lost or consuming ends.
type RecordHandler func(ctx context.Context, r Record) error

// Send accepts one message: for the groups of a destination, or into a topic. It is what
// middleware of senders and producers surrounds.
type Send func(ctx context.Context, m Message) error

// RecordsHandler handles records of one partition, in their order. A nil error
// finishes them all. With an error the first handled of them are finished, the next
// one failed and is tried again, and those behind it come with it. ctx ends as for a
// RecordHandler. The slice belongs to the handler.
type RecordsHandler func(ctx context.Context, rs []Record) (handled int, err error)

// Retry spaces the attempts of one message: the first waits Min, each later
// one Factor times the one before, at most Max.
type Retry struct {
	Min    time.Duration // default 100 ms
	Max    time.Duration // default 1 min
	Factor float64       // default 2
}

// EnsureDefaults fills what is zero: 100 ms, 1 min and 2.
func (r *Retry) EnsureDefaults() {
	r.Min = cmp.Or(r.Min, 100*time.Millisecond)
	r.Max = cmp.Or(r.Max, time.Minute)
	r.Factor = cmp.Or(r.Factor, 2)
}

// Validate returns ErrInvalid unless the delays are positive and do not shrink.
func (r Retry) Validate() error {
	if r.Min <= 0 || r.Max < r.Min || !(r.Factor >= 1) {
		return fmt.Errorf("retry from %s to %s by %g: it must grow from a positive delay: %w", r.Min, r.Max, r.Factor, ErrInvalid)
	}
	return nil
}

// Delay is how long a message waits that failed so often, which is at least once.
func (r Retry) Delay(failures int) time.Duration {
	d := float64(r.Min)
	for range failures - 1 {
		if d *= r.Factor; d >= float64(r.Max) {
			return r.Max
		}
	}
	if d >= float64(r.Max) { // which a float rounds up
		return r.Max
	}
	return time.Duration(d)
}

// DeadLetter is a message that used up its attempts or deaths, or was rejected, with
// bytes of its own.
type DeadLetter struct {
	Message            Message
	Destination, Group string
	Attempts           int    // handlings that failed
	Deaths             int    // how often a member may have died over it
	Rejected           bool   // a member rejected it
	Cause              string // the error of the last handling, or what the last death was
}

// ExpiredMessage is a message whose ExpiresAt passed before a member of the group got
// it, with bytes of its own.
type ExpiredMessage struct {
	Message            Message
	Destination, Group string
	Attempts           int // how often a handling had failed
}

// Parked is a copy of a message that used up its attempts or deaths, or was rejected,
// where no dead-letter handler was given. One that was rejected is settled; any other is
// tried again.
type Parked struct {
	Message  Message
	Group    string
	Attempts int    // handlings that failed
	Deaths   int    // how often a member may have died over it
	Rejected bool   // a member rejected it
	Cause    string // the error of the last handling, or what the last death was
}

// The headers of a record in a dead-letter topic.
const (
	HeaderDeadTopic     = "penstock-dead-topic"     // where it is from
	HeaderDeadPartition = "penstock-dead-partition" // there
	HeaderDeadOffset    = "penstock-dead-offset"    // there
	HeaderDeadGroup     = "penstock-dead-group"     // that gave it up
	HeaderDeadAttempts  = "penstock-dead-attempts"  // handlings, the last one too
	HeaderDeadDeaths    = "penstock-dead-deaths"    // how often a process may have ended over it
	HeaderDeadError     = "penstock-dead-error"     // the last error, up to 1 KiB of it
	HeaderDeadTime      = "penstock-dead-time"      // when it was given up, RFC 3339, UTC
	HeaderDeadOmitted   = "penstock-dead-omitted"   // what was left out of it, see DeadRecord.Omitted
)

// deadHeaders is how all of them begin.
const deadHeaders = "penstock-dead-"

// DeadRecord is what the headers of a record in a dead-letter topic say.
type DeadRecord struct {
	Topic            string
	Partition        int
	Offset           int64
	Group            string
	Attempts, Deaths int
	Cause            string
	Time             time.Time
	// Omitted is what the dead letter lacks of the record, which has no room for it: of
	// "key", "headers" and "value", with commas between; empty for nothing. The record at
	// Offset has it, until that is deleted.
	Omitted string
}

// Mark returns m with the headers that say d, behind its own. The slice of headers is new.
func (d DeadRecord) Mark(m Message) Message {
	m = Unmarked(m)
	for _, h := range []struct{ name, value string }{
		{HeaderDeadTopic, d.Topic}, {HeaderDeadPartition, strconv.Itoa(d.Partition)}, {HeaderDeadOffset, strconv.FormatInt(d.Offset, 10)},
		{HeaderDeadGroup, d.Group}, {HeaderDeadAttempts, strconv.Itoa(d.Attempts)}, {HeaderDeadDeaths, strconv.Itoa(d.Deaths)},
		{HeaderDeadError, d.Cause}, {HeaderDeadTime, d.Time.UTC().Format(time.RFC3339Nano)},
	} {
		m.Headers = append(m.Headers, Header{Name: h.name, Value: []byte(h.value)})
	}
	if d.Omitted != "" {
		m.Headers = append(m.Headers, Header{Name: HeaderDeadOmitted, Value: []byte(d.Omitted)})
	}
	return m
}

// What the cause of a dead letter has at most, in bytes, and where room is short.
const mostCause, shortCause = 1024, 64

// Letters are m as a dead letter that says d, in forms each smaller than the one before, for
// a topic that may have no room for the first: the cause is cut, then parts of m are left
// out, which Omitted says.
func (d DeadRecord) Letters(m Message) iter.Seq2[Message, string] {
	return func(yield func(Message, string) bool) {
		d.Cause = cut(d.Cause, mostCause)
		if !yield(d.Mark(m), "") {
			return
		}
		d.Cause = cut(d.Cause, shortCause)
		for _, d.Omitted = range []string{"", "headers", "value", "headers,value", "key,headers,value"} {
			less := m
			for part := range strings.SplitSeq(d.Omitted, ",") {
				switch part {
				case "key":
					less.Key = nil
				case "headers":
					less.Headers = nil
				case "value":
					less.Value = nil
				}
			}
			if !yield(d.Mark(less), d.Omitted) {
				return
			}
		}
	}
}

// cut is the beginning of a text, UTF-8, in at most so many bytes.
func cut(text string, most int) string {
	text = strings.ToValidUTF8(text, "?")
	return strings.ToValidUTF8(text[:min(len(text), most)], "") // without what was cut through
}

// Unmarked returns m without the headers of a dead letter. The slice of headers is new.
func Unmarked(m Message) Message {
	m.Headers = slices.DeleteFunc(slices.Clone(m.Headers), func(h Header) bool { return strings.HasPrefix(h.Name, deadHeaders) })
	return m
}

// DeadRecordOf reads the headers of a record in a dead-letter topic. It returns false for a
// record that was not put there by DeadLetterTopic.
func DeadRecordOf(p Payload) (d DeadRecord, ok bool) {
	text := func(name string) string {
		v, _ := p.Header(name)
		return string(v)
	}
	d = DeadRecord{Topic: text(HeaderDeadTopic), Group: text(HeaderDeadGroup), Cause: text(HeaderDeadError), Omitted: text(HeaderDeadOmitted)}
	var errs [5]error
	d.Partition, errs[0] = strconv.Atoi(text(HeaderDeadPartition))
	d.Offset, errs[1] = strconv.ParseInt(text(HeaderDeadOffset), 10, 64)
	d.Attempts, errs[2] = strconv.Atoi(text(HeaderDeadAttempts))
	d.Deaths, errs[3] = strconv.Atoi(text(HeaderDeadDeaths))
	d.Time, errs[4] = time.Parse(time.RFC3339Nano, text(HeaderDeadTime))
	return d, d.Topic != "" && errs == [5]error{}
}
