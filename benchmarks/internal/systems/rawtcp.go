package systems

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/penstock-io/penstock/benchmarks/internal/side"
)

// Raw TCP: a length and the bytes, in one direction. There are no acknowledgements, no
// groups and nothing that redelivers: it is the limit of what a connection carries, not a
// choice that a service has.

const rawBuffer = 256 << 10

type tcpReceiver struct {
	listener net.Listener
	read     chan error // the receiving loop's end
}

func receiveTCP(ctx context.Context, _ side.Place, to []*side.Receiver) (side.Receiving, error) {
	return receiveRaw(ctx, to[0], func(l net.Listener) net.Listener { return l })
}

func receiveRaw(ctx context.Context, to *side.Receiver, over func(net.Listener) net.Listener) (side.Receiving, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("raw tcp: %w", err)
	}
	l = over(l)
	r := &tcpReceiver{l, make(chan error, 1)}
	go func() { r.read <- receiveFrom(l, to) }()
	return r, nil
}

func receiveFrom(l net.Listener, r *side.Receiver) error {
	conn, err := l.Accept()
	if errors.Is(err, net.ErrClosed) {
		return nil
	} else if err != nil {
		return err
	}
	defer conn.Close()
	in := bufio.NewReaderSize(conn, rawBuffer)
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
		if n > rawMost {
			return fmt.Errorf("raw tcp: a message of %d bytes", n)
		}
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

// rawMost is the largest message.
const rawMost = 64 << 20

func (r *tcpReceiver) Address() string { return r.listener.Addr().String() }

// Close waits for the sender's end of the connection.
func (r *tcpReceiver) Close() error { return errors.Join(r.listener.Close(), <-r.read) }

type tcpSender struct {
	net.Conn
	w *bufio.Writer
}

func sendTCP(ctx context.Context, at side.Place) (side.Sender, error) {
	return sendRaw(ctx, at, func(c net.Conn) net.Conn { return c })
}

func sendRaw(ctx context.Context, at side.Place, over func(net.Conn) net.Conn) (side.Sender, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", at.Address)
	if err != nil {
		return nil, fmt.Errorf("raw tcp: %w", err)
	}
	conn = over(conn)
	return &tcpSender{conn, bufio.NewWriterSize(conn, rawBuffer)}, nil
}

func (s *tcpSender) Send(_ context.Context, body []byte) error {
	var head [4]byte
	binary.LittleEndian.PutUint32(head[:], uint32(len(body)))
	if _, err := s.w.Write(head[:]); err != nil {
		return err
	}
	_, err := s.w.Write(body)
	return err
}

func (s *tcpSender) Push() error { return s.w.Flush() }

func (s *tcpSender) Flush(context.Context) (bool, error) { return false, s.w.Flush() }
