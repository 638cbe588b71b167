package load

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Records that compress, some four to one: what identifies them, and text that
// repeats and follows from the number.

// FillText makes buf, of MinRecord bytes or more, record id with a note.
func FillText(buf []byte, id, note uint64) {
	binary.LittleEndian.PutUint64(buf, id)
	binary.LittleEndian.PutUint64(buf[8:], note)
	for at, line := 16, lines[id%uint64(len(lines))]; at < len(buf); {
		at += copy(buf[at:], line)
	}
}

// ReadText is the number and note of a record that FillText made, or an error when
// it is not as it was. Changes of the note go unnoticed.
func ReadText(record []byte) (id, note uint64, err error) {
	if len(record) < MinRecord {
		return 0, 0, fmt.Errorf("a record has %d bytes", len(record))
	}
	id, note = binary.LittleEndian.Uint64(record), binary.LittleEndian.Uint64(record[8:])
	line := lines[id%uint64(len(lines))]
	for rest := record[16:]; len(rest) > 0; rest = rest[min(len(line), len(rest)):] {
		if n := min(len(line), len(rest)); !bytes.Equal(rest[:n], line[:n]) {
			return id, note, fmt.Errorf("record %d came with other content than was put", id)
		}
	}
	return id, note, nil
}

var lines = func() (out [16][]byte) {
	for i := range out {
		out[i] = fmt.Appendf(nil, `{"order":"%04d","customer":"somebody","lines":[{"article":"a thing","count":%d,"price":"12.50"}]}`, i*i*137%9973, i)
	}
	return out
}()
