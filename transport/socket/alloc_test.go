package socket_test

import (
	"testing"

	"github.com/penstock-io/penstock/transport/frame"
	"github.com/penstock-io/penstock/transport/socket"
)

// The hot path allocates nothing but the body of a received frame. Both ends
// are in this process, so these counts are of sender and receiver together.
func TestAllocations(t *testing.T) {
	recycled := make([]byte, 1<<20)
	sc, mc := benchLink(t, func(n int) []byte { return recycled[:n] })
	fresh, fm := benchLink(t, nil)

	pass := func(from, to *socket.Conn, send func(*socket.Conn) error) func() {
		var f frame.Frame
		done := make(chan error)
		go func() {
			for {
				err := to.Recv(&f)
				done <- err
				if err != nil {
					return
				}
			}
		}()
		t.Cleanup(func() {
			_ = to.Close()
			<-done
		})
		return func() {
			if err := send(from); err != nil {
				t.Fatal(err)
			}
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	attempts := []uint32{1, 2, 3}
	small, large := benchRecords(100), benchRecords(60<<10)
	three := append(append(benchRecords(1), benchRecords(2)...), benchRecords(3)...)
	ack := frame.Ack{Cumulative: 1000, Ranges: []frame.Range{{From: 1002, To: 1010}, {From: 1020, To: 1020}}, CreditMessages: 5000, CreditBytes: 1 << 20}

	turn := 0
	data := pass(sc, mc, func(c *socket.Conn) error {
		turn++
		switch turn % 3 {
		case 0:
			return c.SendData(7, nil, false, 0, small)
		case 1:
			return c.SendData(7, attempts, true, 0, three)
		}
		return c.SendData(7, nil, false, 0, large)
	})
	body := pass(fresh, fm, func(c *socket.Conn) error { return c.SendData(7, nil, false, 0, small) })
	acks := pass(mc, sc, func(c *socket.Conn) error { return c.SendAck(&ack) })

	for name, c := range map[string]struct {
		pass func()
		want float64
	}{
		"data into recycled memory": {data, 0},
		"data":                      {body, 1},
		"ack":                       {acks, 0},
	} {
		for range 10 {
			c.pass()
		}
		if got := testing.AllocsPerRun(300, c.pass); got > c.want {
			t.Errorf("%s: %v allocations a frame, want %v", name, got, c.want)
		}
	}
}
