package topics_test

// Producers, consumers and etcds that are processes of their own.

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// childEnv says that this process is a child of a test, and which.
const childEnv = "PENSTOCK_FAULT_CHILD"

// childSpec tells a child what to be.
type childSpec struct {
	Role         string // roleProducer, roleResender, roleConsumer, roleHandler, roleMover, roleOverloader, roleEtcd or roleParted
	Name         string // for people
	Endpoints    []string
	Space, Topic string
	Group        string
	Producer     string // of a resender's ids
	First        int    // number of its records
	Keys         int    // of a producer: how many keys its records have in turn; 0 is none
	LeaseTTL     time.Duration
	// Of a handler: how many records it handles at once, the number of the one that ends its
	// process, and of the one that it holds; -1 is none.
	Concurrency, Poison, Held int
	// Shared is of a handler in a shared group, with its AckWait, 0 for the default.
	Shared  bool
	AckWait time.Duration
	// Of an etcd:
	Dir, Client, Peer, Cluster string
}

const roleProducer, roleResender, roleConsumer, roleHandler, roleEtcd, roleParted = "producer", "resender", "consumer", "handler", "etcd", "parted etcd"

func tell(what string, numbers ...any) {
	os.Stdout.WriteString(what + strings.TrimRight(" "+fmt.Sprintln(numbers...), "\n ") + "\n")
}

// orders are what the child is told, closed when the test is gone.
func orders() <-chan string {
	told := make(chan string)
	go func() {
		defer close(told)
		for in := bufio.NewScanner(os.Stdin); in.Scan(); {
			told <- in.Text()
		}
	}()
	return told
}

// run is the child's life. It says on stdout, a line each:
//
//	ready                        it has opened the topic, or subscribed, or etcd answers
//	accepted ID PARTITION OFFSET a record was put
//	doubt ID                     a put had an unknown outcome
//	refused ID                   a put was refused, because etcd is near its quota
//	got ID PARTITION OFFSET FENCE it handles a record; said before it counts as finished
//	holding ID PARTITION OFFSET FENCE it has a record in hand, and waits for "commit"
//	did ID ATTEMPT DEATHS        it has handled a record at the same time as others
//	fenced                       the commit of that record was refused
//	left                         it was told to stop, and did
//
// and is told on stdin: "put FROM", an overloader "put" (until it is stopped or killed), "hold",
// "commit", "stop". It ends when stdin does, so that no child outlives its test.
func (s childSpec) run() error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	switch s.Role {
	case roleEtcd:
		return s.etcd(ctx)
	case roleParted:
		return s.parted()
	case roleMover:
		return s.move(ctx)
	}
	rt, err := penstock.Start(ctx, penstock.Etcd(s.Endpoints...), penstock.Prefix(s.Space), penstock.LeaseTTL(s.LeaseTTL))
	if err != nil {
		return err
	}
	topic, err := rt.Topic(ctx, s.Topic, penstock.PartitionBy(penstock.RoundRobin()))
	if err != nil {
		return err
	}
	switch s.Role {
	case roleProducer:
		err = s.produce(ctx, topic)
	case roleHandler:
		err = s.handle(ctx, topic)
	case roleOverloader:
		err = s.overload(ctx, topic)
	case roleResender:
		err = s.resend(ctx, topic)
	default:
		err = s.consume(ctx, topic)
	}
	if err != nil {
		return err
	}
	if err := rt.Stop(ctx); err != nil {
		return err
	}
	tell("left")
	return nil
}

func (s childSpec) produce(ctx context.Context, topic *penstock.Topic) error {
	tell("ready")
	told := orders()
	var first int
	if order, ok := <-told; !ok {
		return nil
	} else if _, err := fmt.Sscanf(order, "put %d", &first); err != nil {
		return err
	}
	failed := make(chan error, 1)
	tick := time.NewTicker(loadTick)
	defer tick.Stop()
	for id := first; ; id++ {
		if id%harness.PerTick == 0 {
			select {
			case <-told:
				return topic.Flush(ctx)
			case err := <-failed:
				return err
			case <-tick.C:
			}
		}
		m := harness.Numbered(id)
		if s.Keys > 0 {
			m.Key = fmt.Append(nil, id%s.Keys)
		}
		err := topic.PutAsync(ctx, m, func(r penstock.PutResult) {
			switch {
			case r.Err == nil:
				tell("accepted", id, r.Partition, r.Offset)
			case errors.Is(r.Err, penstock.ErrUnknownOutcome):
				tell("doubt", id)
			default:
				select {
				case failed <- r.Err:
				default:
				}
			}
		})
		if err != nil {
			return err
		}
	}
}

func (s childSpec) consume(ctx context.Context, topic *penstock.Topic) error {
	sub, err := topic.Subscribe(ctx, s.Group, penstock.CommitEvery(100*time.Millisecond))
	if err != nil {
		return err
	}
	var hold atomic.Bool
	commit := make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		for rec, err := range sub.Records(ctx) {
			if err != nil {
				ended <- err
				return
			}
			if hold.CompareAndSwap(true, false) {
				tell("holding", recordNumber(rec), rec.Partition, rec.Offset, rec.Fence)
				<-commit
				switch err := sub.Commit(ctx, rec); {
				case err == nil:
					ended <- errors.New("a late commit was taken")
					return
				case errors.Is(err, penstock.ErrFenced):
					tell("fenced")
				default:
					ended <- err
					return
				}
			}
			tell("got", recordNumber(rec), rec.Partition, rec.Offset, rec.Fence)
		}
		ended <- nil
	}()
	tell("ready")
	told := orders()
	for {
		select {
		case order, ok := <-told:
			switch {
			case !ok:
				return nil
			case order == "hold":
				hold.Store(true)
			case order == "commit":
				close(commit)
			case order == "stop":
				return sub.Unsubscribe(ctx)
			}
		case err := <-ended:
			return fmt.Errorf("the records ended: %w", err)
		}
	}
}

// theLetters is the topic of its dead letters.
const theLetters = "letters"

// letterAfter is how many attempts and deaths a handler's record has.
const letterAfter = 3

// handle handles several records at once.
func (s childSpec) handle(ctx context.Context, topic *penstock.Topic) error {
	opts := []penstock.SubscribeOption{
		penstock.CommitEvery(20 * time.Millisecond), penstock.Concurrency(s.Concurrency), penstock.DeadLetterTopic(theLetters, letterAfter),
	}
	if s.Shared {
		opts = append(opts, penstock.Shared(), penstock.AckWait(s.AckWait))
	}
	sub, err := topic.Subscribe(ctx, s.Group, opts...)
	if err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() {
		ended <- sub.Consume(ctx, func(ctx context.Context, r penstock.Record) error {
			switch n := recordNumber(r); n {
			case s.Poison:
				self, err := os.FindProcess(os.Getpid())
				if err != nil {
					return err
				}
				if err := self.Kill(); err != nil {
					return err
				}
				select {}
			case s.Held:
				tell("holding", n, r.Partition, r.Offset, r.Fence)
				<-ctx.Done()
				return ctx.Err()
			default:
				tell("did", n, r.Attempt, r.Deaths)
				return nil
			}
		})
	}()
	tell("ready")
	told := orders()
	select {
	case order, ok := <-told:
		if !ok || order != "stop" {
			return nil
		}
		return sub.Unsubscribe(ctx)
	case err := <-ended:
		return fmt.Errorf("the records ended: %w", err)
	}
}

// etcd is a member of a cluster.
func (s childSpec) etcd(ctx context.Context) error {
	srv, err := embedded.Start(ctx, s.Dir, embedded.Listen(s.Client), embedded.Peer(s.Peer), embedded.UnsafeNoFsync(),
		embedded.Tune(func(c *embed.Config) {
			c.Name, c.InitialCluster, c.InitialClusterToken = s.Name, s.Cluster, "penstock-test"
			c.ElectionMs = 3 * c.ElectionMs // a busy machine is no reason to elect again
		}))
	if err != nil {
		return err
	}
	defer srv.Close()
	tell("ready")
	for range orders() {
	}
	return nil
}

// child is such a process, seen from the test.
type child struct {
	name    string
	cmd     *exec.Cmd
	in      io.WriteCloser
	said    map[string]chan []int64 // what is not entered into the account
	dead    chan struct{}           // all it said was read and it is no more
	stopped atomic.Bool             // by the test

	mu  sync.Mutex
	did []int64 // the numbers of records
}

// done are the records that it has handled.
func (c *child) done() []int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.did)
}

// spawn starts a child; what it accepts and handles goes into a.
func spawn(t *testing.T, spec childSpec, a *account) *child {
	t.Helper()
	if spec.LeaseTTL == 0 {
		spec.LeaseTTL = 10 * time.Second
	}
	env, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{name: spec.Name, cmd: exec.Command(exe), said: map[string]chan []int64{}, dead: make(chan struct{})}
	for _, what := range []string{"ready", "holding", "fenced", "left"} {
		c.said[what] = make(chan []int64, 1)
	}
	c.cmd.Env = append(os.Environ(), childEnv+"="+string(env))
	c.cmd.Stderr = os.Stderr
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.dead)
		c.listen(out, a)
		if err := c.cmd.Wait(); err != nil && !c.stopped.Load() {
			t.Errorf("child %s ended by itself: %v", c.name, err)
		}
	}()
	t.Cleanup(func() {
		c.stopped.Store(true)
		c.in.Close()
		c.cmd.Process.Kill()
		<-c.dead
	})
	return c
}

func (c *child) listen(out io.Reader, a *account) {
	for s := bufio.NewScanner(out); s.Scan(); {
		what, rest, _ := strings.Cut(s.Text(), " ")
		var numbers []int64
		for _, f := range strings.Fields(rest) {
			var n int64
			if _, err := fmt.Sscan(f, &n); err == nil {
				numbers = append(numbers, n)
			}
		}
		switch n := numbers; {
		case what == "accepted" && len(n) == 3:
			a.accept(int(n[0]), place{int(n[1]), n[2]})
			a.enter(func() { a.puts[c.name]++ })
		case what == "refused" && len(n) == 1:
			a.enter(func() { a.refused++ })
		case what == "doubt" && len(n) == 1:
			a.doubt(int(n[0]))
		case what == "got" && len(n) == 4:
			a.handle(c.name, int(n[0]), place{int(n[1]), n[2]}, n[3])
		case what == "did" && len(n) == 3:
			c.mu.Lock()
			c.did = append(c.did, n[0])
			c.mu.Unlock()
		case c.said[what] != nil:
			c.said[what] <- n
		}
	}
}

// says waits until the child says what, and returns the numbers.
func (c *child) says(t *testing.T, what string) []int64 {
	t.Helper()
	select {
	case n := <-c.said[what]:
		return n
	case <-c.dead:
		select {
		case n := <-c.said[what]:
			return n
		default:
		}
		t.Fatalf("child %s ended before it said %q", c.name, what)
	case <-time.After(harness.Patience):
		t.Fatalf("child %s does not say %q", c.name, what)
	}
	return nil
}

func (c *child) tell(t *testing.T, order string) {
	t.Helper()
	if _, err := fmt.Fprintln(c.in, order); err != nil {
		t.Fatal(err)
	}
}

// kill ends it with SIGKILL and waits until all that it said is in the account.
// A line cut short was not said.
func (c *child) kill(t *testing.T) {
	t.Helper()
	c.stopped.Store(true)
	if err := c.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	harness.Await(t, "the end of "+c.name, harness.Closing(c.dead))
}

// stop lets it drain and leave.
func (c *child) stop(t *testing.T) {
	t.Helper()
	c.tell(t, "stop")
	c.says(t, "left")
}
