package penstocktest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
)

const long = time.Minute

func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), long)
	t.Cleanup(cancel)
	return ctx
}

// What was written survives Restart and Compact, on the same port, and not Wipe.
func TestEtcdKeepsOverRestartAndForgetsOverWipe(t *testing.T) {
	ctx := bounded(t)
	s := penstocktest.Etcd(t)
	c := s.Client(t)
	if _, err := c.Put(ctx, "/k", "v"); err != nil {
		t.Fatal(err)
	}
	count := func() int64 {
		t.Helper()
		for {
			resp, err := c.Get(ctx, "/k")
			if err == nil {
				return resp.Count
			}
			if ctx.Err() != nil {
				t.Fatal(err)
			}
		}
	}
	endpoint := s.Endpoint()
	s.Stop()
	s.Stop()
	if conn, err := net.Dial("tcp", endpoint); err == nil {
		conn.Close()
		t.Fatal("a stopped server takes connections")
	}
	s.Restart()
	if n := count(); n != 1 {
		t.Fatalf("%d keys after a restart, want 1", n)
	}
	s.Compact()
	if n := count(); n != 1 {
		t.Fatalf("%d keys after a compaction, want 1", n)
	}
	s.Wipe()
	if n := count(); n != 0 {
		t.Fatalf("%d keys after a wipe, want none", n)
	}
	if s.Endpoint() != endpoint {
		t.Fatalf("the endpoint moved from %s to %s", endpoint, s.Endpoint())
	}
}

// Restore brings back what there was at the last BackUp, and its revision.
func TestEtcdRestoresItsBackup(t *testing.T) {
	ctx := bounded(t)
	s := penstocktest.Etcd(t)
	c := s.Client(t)
	put := func(value string) {
		t.Helper()
		for {
			_, err := c.Put(ctx, "/k", value)
			if err == nil {
				return
			}
			if ctx.Err() != nil {
				t.Fatal(err)
			}
		}
	}
	get := func() (value string, revision int64) {
		t.Helper()
		for {
			resp, err := c.Get(ctx, "/k")
			if err == nil && len(resp.Kvs) == 1 {
				return string(resp.Kvs[0].Value), resp.Header.Revision
			}
			if ctx.Err() != nil {
				t.Fatal(resp, err)
			}
		}
	}
	put("given up")
	s.BackUp()
	put("kept")
	s.BackUp()
	_, revision := get()
	put("lost")
	for range 2 {
		s.Restore()
		if value, at := get(); value != "kept" || at != revision {
			t.Fatalf("restored %q at revision %d, want %q at %d", value, at, "kept", revision)
		}
	}
}

// A revoked lease is lost and replaced, again and again, and its keys return.
func TestExpireLease(t *testing.T) {
	ctx := bounded(t)
	s := penstocktest.Etcd(t)
	space := penstocktest.Space(t)
	rt := penstocktest.Runtime(t, s, penstock.Prefix(space), penstock.LeaseTTL(6*time.Second))
	other := penstocktest.Runtime(t, s, penstock.Prefix(space), penstock.LeaseTTL(time.Minute))
	if _, err := rt.Register(ctx, "orders"); err != nil {
		t.Fatal(err)
	}
	quiet := penstocktest.Record(t, other)
	for range 2 {
		r := penstocktest.Record(t, rt)
		penstocktest.ExpireLease(t, s, rt)
		lost := penstocktest.WaitEvent[messages.SessionLost](t, r, long, nil)
		renewed := penstocktest.WaitEvent[messages.SessionRenewed](t, r, long, nil)
		if renewed.Previous != lost.Lease || renewed.Lease == lost.Lease {
			t.Fatalf("lost %x, then %+v", lost.Lease, renewed)
		}
		penstocktest.WaitEvent(t, r, long, func(e messages.RegistrationRestored) bool { return len(e.Key) > len(space) })
	}
	for _, e := range quiet.Events() {
		if _, ok := e.(messages.SessionLost); ok {
			t.Fatal("the other runtime's lease went too")
		}
	}
}

func TestWaitEventSeesWhatHappenedSinceRecord(t *testing.T) {
	ctx := bounded(t)
	rt := penstocktest.Runtime(t, penstocktest.Etcd(t))
	r := penstocktest.Record(t, rt)
	if _, err := rt.Register(ctx, "orders"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if e := penstocktest.WaitEvent[messages.DestinationRegistered](t, r, long, nil); e.Destination != "orders" {
			t.Fatalf("got %+v", e)
		}
	}
	if err := rt.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	fake := &fatal{TB: t}
	fake.run(func() { penstocktest.WaitEvent[messages.SessionLost](fake, r, long, nil) })
	if !fake.failed {
		t.Fatal("waiting for an event of an ended runtime must fail the test")
	}
}

// fatal is a test whose failure is expected.
type fatal struct {
	testing.TB
	failed bool
}

func (f *fatal) Fatalf(string, ...any) { f.failed = true; panic(f) }

func (f *fatal) run(do func()) {
	defer func() {
		if p := recover(); p != nil && p != any(f) {
			panic(p)
		}
	}()
	do()
}

// echo replies to each line with itself until t ends.
func echo(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func TestProxyHangsAndCuts(t *testing.T) {
	p := penstocktest.NewProxy(t, echo(t))
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	ask := func(c net.Conn, within time.Duration) error {
		fmt.Fprintln(c, "hello")
		c.SetReadDeadline(time.Now().Add(within))
		_, err := bufio.NewReader(c).ReadString('\n')
		return err
	}
	c := dial()
	if err := ask(c, long); err != nil {
		t.Fatal(err)
	}

	p.Hang()
	var timeout net.Error
	if err := ask(c, 100*time.Millisecond); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("a hanging link answered %v", err)
	}
	if err := ask(dial(), 100*time.Millisecond); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Fatalf("a hanging link answered a new connection with %v", err)
	}
	p.Resume()
	if err := ask(c, long); err != nil { // the line held back arrives
		t.Fatal(err)
	}

	p.Cut()
	c.SetReadDeadline(time.Now().Add(long))
	if _, err := io.Copy(io.Discard, c); errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatal("a cut link stayed open")
	}
	if c, err := net.Dial("tcp", p.Addr()); err == nil {
		c.Close()
		t.Fatal("a cut link took a connection")
	}
	p.Resume()
	if err := ask(dial(), long); err != nil {
		t.Fatal(err)
	}
	if p.Accepted() != 3 {
		t.Fatalf("%d connections came, want 3", p.Accepted())
	}
}

// What was sent on a connection that is held arrives after what is sent on a
// newer one, piece by piece, though its sender has gone.
func TestLateProxyDeliversLate(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 10)
	var served sync.WaitGroup
	served.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			served.Go(func() {
				defer c.Close()
				for buf := make([]byte, 100); ; {
					n, err := c.Read(buf)
					if n > 0 {
						got <- string(buf[:n])
					}
					if err != nil {
						return
					}
					fmt.Fprintln(c, "thanks")
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		served.Wait()
	})
	p := penstocktest.NewLateProxy(t, l.Addr().String())
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	arrives := func(want string) {
		t.Helper()
		select {
		case s := <-got:
			if s != want {
				t.Fatalf("%q arrived, want %q", s, want)
			}
		case <-time.After(long):
			t.Fatalf("%q did not arrive", want)
		}
	}
	old := dial()
	fmt.Fprint(old, "one")
	arrives("one")
	holds := p.HoldAt("tw", "wo")
	fmt.Fprint(old, "still one")
	arrives("still one")
	fmt.Fprint(old, "two")
	<-holds
	fmt.Fprint(dial(), "three")
	arrives("three")
	p.Abandon()
	old.SetReadDeadline(time.Now().Add(long))
	if said, err := io.ReadAll(old); strings.Count(string(said), "thanks") > 2 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("an abandoned connection brought %q, %v", said, err)
	}
	p.Release(t.Context(), time.Millisecond)
	arrives("two")
	select {
	case s := <-got:
		t.Fatalf("%q arrived, too", s)
	default:
	}
}

func TestFreezeStopsAProcessUntilResumed(t *testing.T) {
	cat := exec.Command("cat")
	in, err := cat.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cat.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cat.Start(); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		in.Close()
		cat.Wait()
	})
	lines := make(chan string)
	go func() {
		defer close(lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			lines <- s.Text()
		}
	}()
	resume := penstocktest.Freeze(t, cat.Process)
	fmt.Fprintln(in, "hello")
	select {
	case l := <-lines:
		t.Fatalf("a frozen process said %q", l)
	case <-time.After(100 * time.Millisecond):
	}
	resume()
	resume()
	select {
	case <-lines:
	case <-time.After(long):
		t.Fatal("it did not go on")
	}
	in.Close()
	for range lines {
	}
}

// A transaction whose answer is lost was carried out, and others were not
// touched.
func TestDropReplies(t *testing.T) {
	ctx := bounded(t)
	s := penstocktest.Etcd(t)
	replies := penstocktest.DropReplies(3)
	cfg := s.Config()
	cfg.MaxUnaryRetries = 1
	cfg.DialOptions = append(cfg.DialOptions, replies.Option())
	c, err := clientv3.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 9 {
		key := fmt.Sprintf("/k/%d", i)
		_, err := c.Txn(ctx).Then(clientv3.OpPut(key, "v")).Commit()
		if lost := i%3 == 2; lost != (err != nil) {
			t.Errorf("transaction %d: %v", i, err)
		}
		if _, err := c.Put(ctx, "/other", "v"); err != nil {
			t.Error(err)
		}
	}
	resp, err := c.Get(ctx, "/k/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || resp.Count != 9 || replies.Dropped() != 3 {
		t.Errorf("%d of 9 were carried out, %d answers lost, %v", resp.Count, replies.Dropped(), err)
	}
}
