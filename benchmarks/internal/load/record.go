package load

import (
	"encoding/binary"
	"fmt"
)

// Records: a number and a note, and for the rest bytes that follow from the
// number and that no compression makes fewer, within a record or across
// records.

// MinRecord is the smallest record: the number, the note and one word more.
const MinRecord = 24

// odd and its inverse modulo 2^64 turn a number into one with all bits in use
// and back: small numbers have zeros for a compressor to find.
const odd = 0x9e3779b97f4a7c15

var inverse = func() uint64 {
	x := uint64(odd) // right in three bits; each step doubles them
	for range 5 {
		x *= 2 - odd*x
	}
	return x
}()

// noise is the next word after state, as SplitMix64 makes them.
func noise(state *uint64) uint64 {
	*state += odd
	z := *state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// Fill makes buf, of MinRecord bytes or more, record id with a note.
func Fill(buf []byte, id, note uint64) {
	state := id * odd
	binary.LittleEndian.PutUint64(buf, state)
	state = noise(&state) // else the next record's bytes are these, moved by a word
	binary.LittleEndian.PutUint64(buf[8:], noise(&state)^note)
	for buf = buf[16:]; len(buf) >= 8; buf = buf[8:] {
		binary.LittleEndian.PutUint64(buf, noise(&state))
	}
	rest := noise(&state)
	for i := range buf {
		buf[i] = byte(rest >> (8 * i))
	}
}

// Read is the number and note of a record that Fill made, or an error when it
// is not as it was. Changes of the note go unnoticed.
func Read(record []byte) (id, note uint64, err error) {
	if len(record) < MinRecord {
		return 0, 0, fmt.Errorf("a record has %d bytes", len(record))
	}
	state := binary.LittleEndian.Uint64(record)
	id = state * inverse
	state = noise(&state)
	note = binary.LittleEndian.Uint64(record[8:]) ^ noise(&state)
	wrong := uint64(0)
	for record = record[16:]; len(record) >= 8; record = record[8:] {
		wrong |= binary.LittleEndian.Uint64(record) ^ noise(&state)
	}
	rest := noise(&state)
	for i, b := range record {
		wrong |= uint64(b ^ byte(rest>>(8*i)))
	}
	if wrong != 0 {
		return id, note, fmt.Errorf("record %d came with other content than was put", id)
	}
	return id, note, nil
}

// Records makes records of one size, for one goroutine.
type Records struct{ buf []byte }

// NewRecords is for records of size bytes, MinRecord at least.
func NewRecords(size int) *Records { return &Records{make([]byte, max(size, MinRecord))} }

// At is record i, without a note. It is valid until the next call: whoever puts
// it copies it first.
func (r *Records) At(i uint64) []byte {
	Fill(r.buf, i, 0)
	return r.buf
}
