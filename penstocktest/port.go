package penstocktest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
)

// Ports that can be given up and taken again.

// The ports that FreePort picks from lie below those that the systems we know
// hand out by themselves. A port from among those could be lost while nobody
// listens on it: to another program, or to a client that dials it from itself.
const firstPort, lastPort = 20000, 32000

// nextPort goes through them in turn, so that no two callers get one that
// neither listens on yet.
var nextPort atomic.Uint64

func init() { nextPort.Store(uint64(rand.IntN(lastPort - firstPort))) }

// FreePort finds a TCP port of the loopback that nobody listens on at this
// moment. It fails t when there is none.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal("penstocktest: ", err)
	}
	return port
}

func freePort() (int, error) {
	var last error
	for range 100 {
		port := firstPort + int(nextPort.Add(1)%(lastPort-firstPort))
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			last = err
			continue
		}
		return port, l.Close()
	}
	return 0, errors.Join(errors.New("found no free port"), last)
}
