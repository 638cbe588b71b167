package penstocktest

import (
	"errors"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
)

// Ports that can be given up and taken again.

// The ports that FreePort picks from lie below those that the systems we know
// hand out by themselves. A port from among those could be lost while nobody
// listens on it: to another program, or to a client that dials it from itself.
const (
	firstPort = 20000
	blocks    = 120
	blockSize = 100
)

// ports are this process's. They come in blocks: a process owns a block while it listens
// on the block's first port, so that tests of several processes do not pick the same ones.
var ports struct {
	mu        sync.Mutex
	owned     []net.Listener // each on the first port of a block; open until the process ends
	next, end int            // in the block that ports are taken of
}

// FreePort finds a TCP port of the loopback that nobody listens on at this
// moment, and that no other test gets, in this process or another. It fails t when there
// is none.
func FreePort(t testing.TB) int {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal("penstocktest: ", err)
	}
	return port
}

func freePort() (int, error) {
	ports.mu.Lock()
	defer ports.mu.Unlock()
	var last error
	for range 2 * blockSize {
		if ports.next == ports.end {
			if err := nextBlock(); err != nil {
				return 0, err
			}
		}
		port := ports.next
		ports.next++
		l, err := listenOn(port)
		if err != nil {
			last = err
			continue
		}
		return port, l.Close()
	}
	return 0, errors.Join(errors.New("found no free port"), last)
}

// nextBlock makes a block this process's. When none is left, it begins again with the
// first one that it has.
func nextBlock() error {
	var last error
	from := rand.IntN(blocks)
	for i := range blocks {
		first := firstPort + (from+i)%blocks*blockSize
		l, err := listenOn(first)
		if err != nil {
			last = err
			continue
		}
		ports.owned = append(ports.owned, l)
		ports.next, ports.end = first+1, first+blockSize
		return nil
	}
	if len(ports.owned) == 0 {
		return errors.Join(errors.New("found no free block of ports"), last)
	}
	first := ports.owned[0].Addr().(*net.TCPAddr).Port
	ports.next, ports.end = first+1, first+blockSize
	return nil
}

func listenOn(port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}
