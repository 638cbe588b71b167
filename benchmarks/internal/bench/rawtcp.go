package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/penstock-io/penstock/benchmarks/internal/load"
)

// Raw TCP: a length and the bytes, through buffers of 64 KiB, in one direction. There
// are no acknowledgements, no groups and nothing that redelivers: it is the limit of
// what a connection carries, not a choice that a service has.

const rawBuffer = 64 << 10

type raw struct {
	listener net.Listener
	out, in  net.Conn
	w        *bufio.Writer
	read     chan error // the receiving loop's end
}

// RawTCP connects a sender and a receiver over loopback.
func RawTCP(ctx context.Context, r *Receiver) (_ Link, err error) {
	l := &raw{read: make(chan error, 1)}
	if l.listener, err = (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0"); err != nil {
		return nil, fmt.Errorf("raw tcp: %w", err)
	}
	if l.out, err = (&net.Dialer{}).DialContext(ctx, "tcp", l.listener.Addr().String()); err == nil {
		l.in, err = l.listener.Accept()
	}
	if err != nil {
		l.read <- nil
		return nil, errors.Join(fmt.Errorf("raw tcp: %w", err), l.Close())
	}
	l.w = bufio.NewWriterSize(l.out, rawBuffer)
	go func() { l.read <- l.receive(r) }()
	return l, nil
}

func (l *raw) receive(r *Receiver) error {
	in := bufio.NewReaderSize(l.in, rawBuffer)
	var head [4]byte
	var body []byte
	for {
		if _, err := io.ReadFull(in, head[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		n := int(binary.LittleEndian.Uint32(head[:]))
		if n > cap(body) {
			body = make([]byte, n)
		}
		body = body[:n]
		if _, err := io.ReadFull(in, body); err != nil {
			return err
		}
		r.Take(body)
	}
}

func (l *raw) Send(_ context.Context, bodies *load.Bodies, from, to uint64) error {
	var head [4]byte
	for i := from; i < to; i++ {
		body := bodies.At(i)
		binary.LittleEndian.PutUint32(head[:], uint32(len(body)))
		if _, err := l.w.Write(head[:]); err != nil {
			return err
		}
		if _, err := l.w.Write(body); err != nil {
			return err
		}
	}
	return l.w.Flush()
}

// Settle has nothing to wait for: the connection acknowledges nothing that a program sees.
func (l *raw) Settle(context.Context) (bool, error) { return false, nil }

func (l *raw) Close() error {
	var errs []error
	if l.out != nil {
		errs = append(errs, l.out.Close())
	}
	errs = append(errs, <-l.read)
	if l.in != nil {
		errs = append(errs, l.in.Close())
	}
	return errors.Join(append(errs, l.listener.Close())...)
}
