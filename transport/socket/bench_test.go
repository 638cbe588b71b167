package socket_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.nanomsg.org/mangos/v3"
	"go.nanomsg.org/mangos/v3/protocol/pull"
	"go.nanomsg.org/mangos/v3/protocol/push"
	_ "go.nanomsg.org/mangos/v3/transport/inproc"
	_ "go.nanomsg.org/mangos/v3/transport/tcp"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
	"github.com/penstock-io/penstock/transport/carrier/carriertest"
	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

// Benchmarks over loopback, beside stock mangos on the same path. Latency is
// one way: the receiver is in the same process and signals through a channel.

var benchToken = bytes.Repeat([]byte{1}, 32)

func benchLink(tb testing.TB, buffer func(int) []byte) (sc, mc *socket.Conn) {
	tb.Helper()
	return benchLinkOver(tb, "tcp://127.0.0.1:0", nil, buffer)
}

func benchLinkOver(tb testing.TB, url string, secured *carrier.TLS, buffer func(int) []byte) (sc, mc *socket.Conn) {
	tb.Helper()
	u, err := address.Parse(url)
	if err != nil {
		tb.Fatal(err)
	}
	ln, err := socket.Listen(context.Background(), socket.ListenerConfig{
		URLs:   []address.URL{u},
		TLS:    secured,
		Lookup: func(string) (socket.Secret, bool) { return socket.Secret{Token: benchToken}, true },
	})
	if err != nil {
		tb.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	tb.Cleanup(cancel)
	accepted := make(chan error, 1)
	go func() {
		var err error
		if sc, err = ln.Accept(ctx); err == nil {
			err = sc.Welcome("s", 4<<20)
		}
		accepted <- err
	}()
	mc, err = socket.Dial(ctx, socket.DialConfig{
		URL: ln.URL(), TLS: secured, Identities: ln.Identities(), Token: benchToken, Buffer: buffer,
		Hello: frame.Hello{Destination: "d", Group: "g", Member: "m"},
	})
	if err != nil {
		tb.Fatal(err)
	}
	if err := <-accepted; err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		_ = mc.Close()
		_ = ln.Close()
	})
	return sc, mc
}

func benchRecords(size int) []byte {
	return messages.AppendRecord(nil, &messages.Message{Value: make([]byte, size)})
}

func BenchmarkThroughput(b *testing.B) {
	for _, bm := range []struct {
		name   string
		size   int
		buffer func(int) []byte
	}{
		{"100B", 100, nil},
		{"60KiB", 60 << 10, nil},
		{"60KiB-recycled", 60 << 10, func() func(int) []byte {
			buf := make([]byte, 128<<10)
			return func(n int) []byte { return buf[:n] }
		}()},
		{"1MiB", 1 << 20, nil},
	} {
		b.Run(bm.name, func(b *testing.B) {
			sc, mc := benchLink(b, bm.buffer)
			records := benchRecords(bm.size)
			b.SetBytes(int64(bm.size))
			b.ReportAllocs()
			done := make(chan error, 1)
			n := b.N
			go func() {
				var f frame.Frame
				for range n {
					if err := mc.Recv(&f); err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
			b.ResetTimer()
			for i := range n {
				if err := sc.SendData(uint64(i+1), nil, false, 0, records); err != nil {
					b.Fatal(err)
				}
			}
			if err := <-done; err != nil {
				b.Fatal(err)
			}
		})
	}
}

// Streams of frames over each carrier; many small messages, or one of 64 KiB, make one of
// 60 KiB. Beside them is stock mangos in the memory of the process. Compare runs of one
// sitting.
func BenchmarkCarriers(b *testing.B) {
	secured := carriertest.NewCA(b).Issue(b, time.Hour, "orders.example").TLS(b)
	sizes := []int{100, 1 << 10, 60 << 10, 260 << 10}
	for _, url := range []string{"tcp://127.0.0.1:0", "tls+tcp://127.0.0.1:0", "ipc://" + filepath.Join(b.TempDir(), "s"), "inproc://bench"} {
		for _, size := range sizes {
			b.Run(fmt.Sprintf("%s/%dB", url[:strings.Index(url, ":")], size), func(b *testing.B) {
				buf := make([]byte, 512<<10)
				sc, mc := benchLinkOver(b, url, secured, func(n int) []byte { return buf[:n] })
				records := benchRecords(size)
				var f frame.Frame
				seq := uint64(0)
				stream(b, size, func() error {
					seq++
					return sc.SendData(seq, nil, false, 0, records)
				}, func() error { return mc.Recv(&f) })
			})
		}
	}
	for _, size := range sizes {
		b.Run(fmt.Sprintf("raw-tcp/%dB", size), func(b *testing.B) { rawStream(b, size, false) })
		b.Run(fmt.Sprintf("raw-tls/%dB", size), func(b *testing.B) { rawStream(b, size, true) })
		b.Run(fmt.Sprintf("mangos-inproc/%dB", size), func(b *testing.B) {
			send, recv, end := stockLink(b, "inproc://stock", size)
			defer end()
			stream(b, size, send, recv)
		})
	}
}

// rawStream sends bytes over tcp, or over crypto/tls on it: the limit of what TLS can do.
func rawStream(b *testing.B, size int, secured bool) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer ln.Close()
	dialled, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		b.Fatal(err)
	}
	accepted, err := ln.Accept()
	if err != nil {
		b.Fatal(err)
	}
	defer dialled.Close()
	defer accepted.Close()
	if secured {
		files := carriertest.NewCA(b).Issue(b, time.Hour, "orders.example")
		cert, err := tls.LoadX509KeyPair(files.Cert, files.Key)
		if err != nil {
			b.Fatal(err)
		}
		cfg := &tls.Config{
			Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13, DynamicRecordSizingDisabled: true,
			InsecureSkipVerify: true, // who it is makes no difference
		}
		dialled, accepted = tls.Client(dialled, cfg), tls.Server(accepted, cfg)
	}
	out, in := make([]byte, size), make([]byte, max(size, 64<<10))
	var got, due int
	stream(b, size, func() error {
		_, err := dialled.Write(out)
		return err
	}, func() error {
		for due += size; got < due; {
			n, err := accepted.Read(in)
			if got += n; err != nil {
				return err
			}
		}
		return nil
	})
}

// stream sends b.N frames as fast as they are received.
func stream(b *testing.B, size int, send, recv func() error) {
	b.SetBytes(int64(size))
	done := make(chan error, 1)
	n := b.N
	go func() {
		for range n {
			if err := recv(); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	b.ResetTimer()
	before := processorTime()
	for range n {
		if err := send(); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(processorTime()-before)/float64(n), "cpu-ns/op")
}

// stockLink is a PUSH and a PULL of stock mangos, with bodies of size bytes.
func stockLink(b *testing.B, url string, size int) (send, recv func() error, end func()) {
	s, err := push.NewSocket()
	if err != nil {
		b.Fatal(err)
	}
	r, err := pull.NewSocket()
	if err != nil {
		b.Fatal(err)
	}
	l, err := s.NewListener(url, nil)
	if err != nil {
		b.Fatal(err)
	}
	if err := l.Listen(); err != nil {
		b.Fatal(err)
	}
	if err := r.Dial(l.Address()); err != nil {
		b.Fatal(err)
	}
	body := make([]byte, size)
	send = func() error {
		m := mangos.NewMessage(len(body))
		m.Body = append(m.Body, body...)
		return s.SendMsg(m)
	}
	recv = func() error {
		m, err := r.RecvMsg()
		if err == nil {
			m.Free()
		}
		return err
	}
	return send, recv, func() {
		_ = r.Close()
		_ = s.Close()
	}
}

// latencies runs one message at a time and reports the median and the 99th.
func latencies(b *testing.B, send func() error, recv func() error) {
	got := make(chan error)
	go func() {
		for {
			err := recv()
			got <- err
			if err != nil {
				return
			}
		}
	}()
	times := make([]time.Duration, 0, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		began := time.Now()
		if err := send(); err != nil {
			b.Fatal(err)
		}
		if err := <-got; err != nil {
			b.Fatal(err)
		}
		times = append(times, time.Since(began))
	}
	b.StopTimer()
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds()), "p99-ns")
	b.Cleanup(func() { <-got })
}

func BenchmarkLatency(b *testing.B) {
	b.Run("penstock/100B", func(b *testing.B) {
		sc, mc := benchLink(b, nil)
		records := benchRecords(100)
		var f frame.Frame
		latencies(b, func() error { return sc.SendData(1, nil, false, 0, records) }, func() error { return mc.Recv(&f) })
		_ = mc.Close()
	})
	b.Run("mangos/100B", func(b *testing.B) {
		send, recv, end := stockLink(b, "tcp://127.0.0.1:0", 100)
		latencies(b, send, recv)
		end()
	})
}
