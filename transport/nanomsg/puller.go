package nanomsg

// The side of a connection that sends: to a PULL peer, which reads as it likes and says
// nothing.

import (
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/penstock-io/penstock/transport/carrier"
)

// StallAfter is how long a peer may take no byte before Send gives back what it has not
// begun to write.
const StallAfter = time.Second

// copyLimit: up to here copying a message behind others is cheaper than handing it to
// the kernel by itself.
const copyLimit = 4 << 10

// Puller is a PULL peer. One goroutine sends, another one may watch; Close is for any.
type Puller struct {
	*stream
	prefix prefix
	url    string
	onEnd  func()
	whole  carrier.Pieces // the connection, where it wants each message by itself

	scratch []byte
	room    net.Buffers // memory of left
	left    net.Buffers // to be written
	ends    []int64     // where each message ends
	written int64
}

// batchOfStream is how many messages one write takes of a stream.
const batchOfStream = 64

// Batch is how many messages may be sent at once: what is behind one that a peer does not
// read can be given to others. Where each message is written by itself that is one, and
// Send does not return ErrStalled.
func (p *Puller) Batch() int {
	if p.whole != nil {
		return 1
	}
	return batchOfStream
}

// URL is the listener's, at which the peer came in.
func (p *Puller) URL() string { return p.url }

// Send writes bodies, each as a message, and returns how many of them the system has taken
// whole. It blocks while the peer does not read. With ErrStalled the connection lives: the
// message behind those that were taken is the one that has begun, and Finish has to follow;
// those behind it were not written. With any other error the connection has ended, and no
// message but those that were taken will ever be the peer's. Bodies are not kept after the
// last call, and those of a stalled Send not after Finish.
func (p *Puller) Send(bodies [][]byte) (taken int, err error) {
	if p.whole != nil {
		return p.sendWhole(bodies)
	}
	p.lay(bodies)
	for len(p.left) > 0 {
		_ = p.c.SetWriteDeadline(time.Now().Add(StallAfter)) // fails on a closed connection, as the write does
		n, err := p.left.WriteTo(p.c)
		p.written += n
		switch {
		case err == nil, late(err) && n > 0:
		case late(err):
			p.keepBegun()
			return p.taken(), fmt.Errorf("%s: %w", p.remote, ErrStalled)
		default:
			return p.taken(), p.fail(err)
		}
	}
	return len(bodies), nil
}

func (p *Puller) sendWhole(bodies [][]byte) (taken int, err error) {
	for i, b := range bodies {
		p.scratch = p.prefix.append(p.scratch[:0], len(b))
		if err := p.whole.WritePieces(p.scratch, b); err != nil {
			return i, p.fail(err)
		}
	}
	return len(bodies), nil
}

// Finish writes what a stalled Send has begun, however long that takes.
func (p *Puller) Finish() error {
	_ = p.c.SetWriteDeadline(time.Time{})
	if _, err := p.left.WriteTo(p.c); err != nil {
		return p.fail(err)
	}
	return nil
}

func (p *Puller) fail(err error) error {
	return fmt.Errorf("%s: %w", p.remote, p.end(sorted(err)))
}

// lay puts messages in the order in which they are written: small ones copied behind one
// another, large ones where they lie.
func (p *Puller) lay(bodies [][]byte) {
	need := 0
	for _, b := range bodies {
		need += p.prefix.size()
		if len(b) <= copyLimit {
			need += len(b)
		}
	}
	p.left, p.ends, p.written = p.room[:0], p.ends[:0], 0
	buf := slices.Grow(p.scratch[:0], need)
	from, total := 0, int64(0)
	for _, b := range bodies {
		buf = p.prefix.append(buf, len(b))
		if len(b) <= copyLimit {
			buf = append(buf, b...)
		} else {
			p.left = append(p.left, buf[from:len(buf):len(buf)], b)
			from = len(buf)
		}
		total += int64(p.prefix.size() + len(b))
		p.ends = append(p.ends, total)
	}
	if from < len(buf) {
		p.left = append(p.left, buf[from:])
	}
	p.scratch, p.room = buf, p.left
}

// taken is how many messages are written whole.
func (p *Puller) taken() int {
	n, found := slices.BinarySearch(p.ends, p.written)
	if found {
		n++
	}
	return n
}

// keepBegun forgets what comes behind the message that has begun, or is next.
func (p *Puller) keepBegun() {
	rest := p.ends[p.taken()] - p.written
	for i, b := range p.left {
		if rest <= int64(len(b)) {
			p.left[i] = b[:rest]
			p.left = p.left[:i+1]
			return
		}
		rest -= int64(len(b))
	}
}

// Watch blocks until the peer is gone, and returns why. A peer that says something is
// ended for that: a PULL socket has nothing to say.
func (p *Puller) Watch() error {
	var b [1]byte
	n, err := p.c.Read(b[:])
	if n > 0 {
		err = fmt.Errorf("%w: it sent bytes, which a PULL peer does not", ErrNotSP)
	}
	return p.fail(err)
}

// Close ends the connection and frees its place at the listener.
func (p *Puller) Close() {
	p.stream.Close()
	p.onEnd()
}
