package pipes

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

// What is in a message, and what a member can tell from it: who sent it, which
// one it is, when it was meant to be sent, and whether it is whole.

const (
	stampSize = 16
	seqBits   = 48
	contents  = 16 // different ones, so that a mix-up of neighbours shows
)

// stamp is the head of a message.
type stamp struct {
	sender uint64        // below 65,536
	seq    uint64        // from 0, for each sender; below 2^48
	meant  time.Duration // since the start of the scenario
}

// payload makes and recognises messages of one size. It is not changed after
// it is made.
type payload struct{ content [contents][]byte }

// text is what compresses, some four to one with s2.
const text = `{"order":"%04d","customer":"somebody","lines":[{"article":"a thing","count":%d,"price":"12.50"}]}`

func newPayload(size int, compressible bool) *payload {
	random := rand.NewChaCha8([32]byte{2})
	p := &payload{}
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

// write fills buf, which has the payload's size.
func (p *payload) write(buf []byte, s stamp) {
	binary.LittleEndian.PutUint64(buf, s.sender<<seqBits|s.seq)
	binary.LittleEndian.PutUint64(buf[8:], uint64(s.meant))
	copy(buf[stampSize:], p.content[s.seq%contents][stampSize:])
}

// read takes a message apart, or says why it is not what was sent.
func (p *payload) read(buf []byte) (stamp, error) {
	if want := len(p.content[0]); len(buf) != want {
		return stamp{}, fmt.Errorf("a message of %d bytes came, %d were sent", len(buf), want)
	}
	number := binary.LittleEndian.Uint64(buf)
	s := stamp{
		sender: number >> seqBits,
		seq:    number & (1<<seqBits - 1),
		meant:  time.Duration(binary.LittleEndian.Uint64(buf[8:])),
	}
	if !bytes.Equal(buf[stampSize:], p.content[s.seq%contents][stampSize:]) {
		return s, fmt.Errorf("message %d of sender %d is damaged", s.seq, s.sender)
	}
	return s, nil
}

// extent is the messages from..to-1 of a sender.
type extent struct{ from, to uint64 }

// journal is what one member got from one sender: neighbours in one extent.
type journal struct {
	extents     []extent
	redelivered uint64
	disordered  uint64 // came behind a later one, and were not redelivered
	next        uint64
}

// note enters one message.
func (j *journal) note(seq uint64, redelivered bool) {
	if redelivered {
		j.redelivered++
	} else if seq < j.next {
		j.disordered++
	}
	j.next = max(j.next, seq+1)
	if n := len(j.extents); n > 0 && j.extents[n-1].to == seq {
		j.extents[n-1].to++
		return
	}
	j.extents = append(j.extents, extent{seq, seq + 1})
}

// judge compares what a group's members got from one sender with the messages
// 0..sent-1 that it sent.
func judge(members []*journal, sent uint64) results.Check {
	v := results.Check{Sent: sent}
	var all []extent
	for _, j := range members {
		v.Redelivered += j.redelivered
		v.Disordered += j.disordered
		all = append(all, j.extents...)
	}
	slices.SortFunc(all, func(a, b extent) int { return cmp.Compare(a.from, b.from) })
	at := uint64(0) // everything below it is accounted for
	for _, e := range all {
		if e.from > at {
			v.Lost += e.from - at
			at = e.from
		}
		if e.from < at {
			v.Duplicates += min(at, e.to) - e.from
		}
		at = max(at, e.to)
	}
	if at < sent {
		v.Lost += sent - at
	}
	return v
}
