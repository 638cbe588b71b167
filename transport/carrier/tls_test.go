package carrier_test

// The memory of streams with TLS.

import (
	"bytes"
	"context"
	"io"
	"net"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/carrier"
	"github.com/penstock-io/penstock/transport/carrier/carriertest"
)

// tlsPair is both ends of a stream with TLS, after its handshake.
func tlsPair(t *testing.T, ln net.Listener, to carrier.Target) (dialled, accepted net.Conn) {
	t.Helper()
	by, err := carrier.Of(address.TLS)
	if err != nil {
		t.Fatal(err)
	}
	if dialled, err = by.Dial(t.Context(), address.URL{Scheme: address.TLS, Host: "127.0.0.1"}, ln.Addr().String(), to); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = dialled.Close() })
	if accepted, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = accepted.Close() })
	done := make(chan error, 1)
	go func() { done <- accepted.(carrier.Opener).Handshake(context.Background()) }()
	if err := dialled.(carrier.Opener).Handshake(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return dialled, accepted
}

// Promise: frames arrive whole, whatever their sizes and however they are written, and a
// stream that was busy keeps no more than 96 KiB of memory for both of its ends, once
// there is little to carry.
func TestBusyTLSKeepsLittle(t *testing.T) {
	files := carriertest.NewCA(t).Issue(t, time.Hour, "orders.example")
	to := carrier.Target{TLS: files.TLS(t), Identities: []string{"orders.example"}}
	by, err := carrier.Of(address.TLS)
	if err != nil {
		t.Fatal(err)
	}
	u, err := address.Parse("tls+tcp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := by.Listen(t.Context(), u, to.TLS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	const pairs = 32
	out, in := make([]byte, 300<<10), make([]byte, 300<<10)
	for i := range out {
		out[i] = byte(i % 251)
	}
	ends := make([][2]net.Conn, pairs)
	carry := func(sizes ...int) {
		for _, pair := range ends {
			sent := make(chan error, 1)
			go func() {
				for _, n := range sizes {
					if err := pair[1].(carrier.Pieces).WritePieces(out[:8], out[8:n]); err != nil {
						sent <- err
						return
					}
				}
				sent <- nil
			}()
			_ = pair[0].SetReadDeadline(time.Now().Add(time.Minute))
			for _, n := range sizes {
				if _, err := io.ReadFull(pair[0], in[:n]); err != nil || !bytes.Equal(in[:n], out[:n]) {
					t.Fatalf("a frame of %d bytes: %v", n, err)
				}
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range ends {
		ends[i][0], ends[i][1] = tlsPair(t, ln, to)
	}
	carry(100)
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // no collection empties pools meanwhile
	before := heap()
	carry(9, 16<<10, 60<<10, 270<<10, 60<<10, 300<<10, 16<<10-1, 1<<10)
	carry(50, 50)
	if kept := int64(heap()-before) / pairs; kept > 96<<10 {
		t.Errorf("each stream keeps %d KiB", kept>>10)
	} else {
		t.Logf("each stream keeps %d KiB", kept>>10)
	}
	runtime.KeepAlive(ends)
}

// heap is what is in use, without what pools hold.
func heap() uint64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
