package main

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// What is in a message, and what a member can tell from it: who sent it, which
// one it is, when it was meant to be sent, and whether it is whole.

const (
	stampSize = 24
	contents  = 16 // different ones, so that a mix-up of neighbours shows
)

// stamp is the head of a message.
type stamp struct {
	sender uint64
	seq    uint64        // from 0, for each sender
	meant  time.Duration // since the start of the scenario
}

// payload makes and recognises messages of one size. It is not changed after
// it is made.
type payload struct{ content [contents][]byte }

func newPayload(size int) *payload {
	random := rand.NewChaCha8([32]byte{2})
	p := &payload{}
	for i := range p.content {
		p.content[i] = make([]byte, size)
		_, _ = random.Read(p.content[i]) // it never fails
	}
	return p
}

// write fills buf, which has the payload's size.
func (p *payload) write(buf []byte, s stamp) {
	binary.LittleEndian.PutUint64(buf, s.sender)
	binary.LittleEndian.PutUint64(buf[8:], s.seq)
	binary.LittleEndian.PutUint64(buf[16:], uint64(s.meant))
	copy(buf[stampSize:], p.content[s.seq%contents][stampSize:])
}

// read takes a message apart, or says why it is not what was sent.
func (p *payload) read(buf []byte) (stamp, error) {
	if want := len(p.content[0]); len(buf) != want {
		return stamp{}, fmt.Errorf("a message of %d bytes came, %d were sent", len(buf), want)
	}
	s := stamp{
		sender: binary.LittleEndian.Uint64(buf),
		seq:    binary.LittleEndian.Uint64(buf[8:]),
		meant:  time.Duration(binary.LittleEndian.Uint64(buf[16:])),
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

// verdict is what became of the messages of one scenario, over all groups.
type verdict struct {
	Lost        uint64 `json:"lost"`
	Duplicates  uint64 `json:"duplicates"`
	Disordered  uint64 `json:"disordered"`
	Redelivered uint64 `json:"redelivered"`
}

func (v verdict) add(o verdict) verdict {
	return verdict{v.Lost + o.Lost, v.Duplicates + o.Duplicates, v.Disordered + o.Disordered, v.Redelivered + o.Redelivered}
}

// judge compares what a group's members got from one sender with the messages
// 0..sent-1 that it sent.
func judge(members []*journal, sent uint64) verdict {
	var v verdict
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
