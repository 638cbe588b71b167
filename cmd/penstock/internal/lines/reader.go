package lines

// Reading messages, one a line.

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/penstock-io/penstock"
)

// Reader takes a stream apart at its newlines. The last line need not end
// in one; a carriage return is part of the line.
type Reader struct {
	r   *bufio.Reader
	max int // bytes of a line
	n   int // lines read
}

// NewReader reads r; max is the most bytes of a line.
func NewReader(r io.Reader, max int) *Reader {
	return &Reader{r: bufio.NewReaderSize(r, 64<<10), max: max}
}

// Next returns the next line without its newline, in bytes of its own, and
// io.EOF after the last. A line over max wraps penstock.ErrTooLarge and has
// its number; after it the reader is of no use.
func (l *Reader) Next() ([]byte, error) {
	var line []byte
	for {
		part, err := l.r.ReadSlice('\n')
		ended := err == nil
		if ended {
			part = part[:len(part)-1]
		}
		if len(line)+len(part) > l.max {
			return nil, fmt.Errorf("line %d is longer than %d bytes: %w", l.n+1, l.max, penstock.ErrTooLarge)
		}
		line = append(line, part...)
		switch {
		case ended:
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case errors.Is(err, io.EOF) && len(line) > 0:
		case errors.Is(err, io.EOF):
			return nil, io.EOF
		default:
			return nil, fmt.Errorf("read line %d: %w", l.n+1, err)
		}
		l.n++
		return line, nil
	}
}
