// Package journal is what is in the messages of a scenario, and what receivers note
// of them: who sent each, which one it is, when it was meant to be sent, and whether it
// is whole; then what was lost, came twice, or out of order.
package journal

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/penstock-io/penstock/benchmarks/internal/results"
)

// Head is the size of what identifies a message, and so of the smallest.
const Head = 16

const (
	seqBits  = 48
	contents = 16 // different ones, so that a mix-up of neighbours shows
)

// Stamp is the head of a message.
type Stamp struct {
	Sender uint64        // below 65,536
	Seq    uint64        // from 0, for each sender; below 2^48
	Meant  time.Duration // since the start of the scenario
}

// Payload makes and recognises messages of one size. It is not changed after
// it is made, so goroutines may share it.
type Payload struct{ content [contents][]byte }

// text is what compresses, some four to one with s2.
const text = `{"order":"%04d","customer":"somebody","lines":[{"article":"a thing","count":%d,"price":"12.50"}]}`

// NewPayload makes the content of messages of size bytes, at least Head: noise that is
// the same each time, or text that compresses.
func NewPayload(size int, compressible bool) *Payload {
	random := rand.NewChaCha8([32]byte{2})
	p := &Payload{}
	for i := range p.content {
		if compressible {
			line := fmt.Sprintf(text, i, random.Uint64()%1000)
			p.content[i] = bytes.Repeat([]byte(line), size/len(line)+1)[:size]
			continue
		}
		p.content[i] = make([]byte, size)
		_, _ = random.Read(p.content[i]) // it never fails
	}
	return p
}

// Write fills buf, which has the payload's size.
func (p *Payload) Write(buf []byte, s Stamp) {
	binary.LittleEndian.PutUint64(buf, s.Sender<<seqBits|s.Seq)
	binary.LittleEndian.PutUint64(buf[8:], uint64(s.Meant))
	copy(buf[Head:], p.content[s.Seq%contents][Head:])
}

// Read takes a message apart, or says why it is not what was sent.
func (p *Payload) Read(buf []byte) (Stamp, error) {
	if want := len(p.content[0]); len(buf) != want {
		return Stamp{}, fmt.Errorf("a message of %d bytes came, %d were sent", len(buf), want)
	}
	number := binary.LittleEndian.Uint64(buf)
	s := Stamp{
		Sender: number >> seqBits,
		Seq:    number & (1<<seqBits - 1),
		Meant:  time.Duration(binary.LittleEndian.Uint64(buf[8:])),
	}
	if !bytes.Equal(buf[Head:], p.content[s.Seq%contents][Head:]) {
		return s, fmt.Errorf("message %d of sender %d is damaged", s.Seq, s.Sender)
	}
	return s, nil
}

// Extent is the messages From..To-1 of a sender.
type Extent struct{ From, To uint64 }

// Journal is what one member got from one sender: neighbours in one extent. It is used
// by one goroutine at a time.
type Journal struct {
	Extents     []Extent
	Redelivered uint64
	Disordered  uint64 // came behind a later one, and were not redelivered
	Doubled     uint64 // came once more, where several journals are merged
	next        uint64
}

// Note enters one message.
func (j *Journal) Note(seq uint64, redelivered bool) {
	if redelivered {
		j.Redelivered++
	} else if seq < j.next {
		j.Disordered++
	}
	j.next = max(j.next, seq+1)
	if n := len(j.Extents); n > 0 && j.Extents[n-1].To == seq {
		j.Extents[n-1].To++
		return
	}
	j.Extents = append(j.Extents, Extent{seq, seq + 1})
}

// Merge adds up what the members of a group got from one sender.
func Merge(members []*Journal) *Journal {
	sum := &Journal{}
	var all []Extent
	for _, j := range members {
		sum.Redelivered += j.Redelivered
		sum.Disordered += j.Disordered
		sum.Doubled += j.Doubled
		all = append(all, j.Extents...)
	}
	slices.SortFunc(all, func(a, b Extent) int { return cmp.Compare(a.From, b.From) })
	for _, e := range all {
		if n := len(sum.Extents); n > 0 && e.From <= sum.Extents[n-1].To {
			last := &sum.Extents[n-1]
			sum.Doubled += min(last.To, e.To) - e.From
			last.To = max(last.To, e.To)
			continue
		}
		sum.Extents = append(sum.Extents, e)
	}
	return sum
}

// Judge compares what a group's members got from one sender with the messages
// 0..sent-1 that it sent.
func Judge(members []*Journal, sent uint64) results.Check {
	all := Merge(members)
	v := results.Check{Sent: sent, Duplicates: all.Doubled, Disordered: all.Disordered, Redelivered: all.Redelivered, Lost: sent}
	for _, e := range all.Extents {
		v.Lost -= min(e.To, sent) - min(e.From, sent)
	}
	return v
}
