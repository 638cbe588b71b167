package main

// The promise, shown: two groups, a member killed in mid-stream, nothing lost.

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
	"sync/atomic"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery/embedded"
)

const (
	demoDest    = "lines"
	demoTimeout = 2 * time.Minute
	// demoMost keeps the books of the demo in memory.
	demoMost = 50_000_000
)

var (
	demoGroups  = []string{"billing", "audit"}
	demoMembers = []string{"1", "2"}
)

type demo struct {
	*app
	messages    int
	json, keep  bool
	diagnostics string
}

func (a *app) demoCommand() *cobra.Command {
	c := demo{app: a}
	cmd := &cobra.Command{
		Use:   "demo [FILE]",
		Short: "Show two groups at work, and one of their members killed",
		Long: `Demo needs nothing: it runs an etcd in this process, a sender, and two groups,
billing and audit, of two members each in processes of their own. The sender
sends numbered lines of FILE, or of a text built in. In mid-stream the member
billing/2 is killed with SIGKILL; what it had not acked goes to billing/1.

It ends with a line for each group: how many deliveries its members handled, how
many of them were distinct, how many were duplicates, how many messages were
lost, and how many deliveries were marked as redelivered. Lost messages end the
command with code 1.`,
		Example: `  penstock demo
  penstock demo --messages 1000000
  penstock demo --json | jq .groups.billing.lost
  penstock demo --keep --diagnostics 127.0.0.1:7070    # and look at it from another shell`,
		Args: between(0, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := ""
			if len(args) == 1 {
				file = args[0]
			}
			return c.run(cmd.Context(), file)
		},
	}
	f := cmd.Flags()
	f.IntVar(&c.messages, "messages", 20_000, "how many `N` to send; the text is repeated")
	f.BoolVar(&c.json, "json", false, "print one object on standard output")
	f.BoolVar(&c.keep, "keep", false, "leave everything running at the end, to look at, until a signal comes")
	diagnosticsFlag(cmd, &c.diagnostics)
	return cmd
}

func (c *demo) run(ctx context.Context, file string) (err error) {
	if c.messages < 1 || c.messages > demoMost {
		return usagef("--messages %d: want 1 to %d", c.messages, demoMost)
	}
	lines, err := demoLines(file)
	if err != nil {
		return err
	}
	starting, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	srv, err := embedded.Start(starting, "")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, srv.Close()) }()
	c.say("etcd        %s, in this process", srv.Endpoint())
	c.etcd = etcdFlags{endpoints: srv.Endpoint(), timeout: 30 * time.Second, prefix: "/penstock"}

	opts := []penstock.StartOption{penstock.Listen("tcp://127.0.0.1:0"), penstock.LeaseTTL(demoTTL)}
	if c.diagnostics != "" {
		opts = append(opts, penstock.Diagnostics(c.diagnostics))
	}
	rt, err := c.start(starting, opts...)
	if err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		if serr := rt.Stop(stopping); err == nil {
			err = serr
		}
	}()
	d, err := rt.Register(starting, demoDest)
	if err != nil {
		return err
	}
	c.say("sender      %s", d.URL())

	stage, err := c.cast(starting, srv.Endpoint())
	defer stage.close()
	if err != nil {
		return err
	}
	working, cancelWork := context.WithTimeoutCause(ctx, demoTimeout+time.Duration(c.messages)*100*time.Microsecond, errTimeout)
	defer cancelWork()
	res, err := c.play(working, d, stage, lines)
	if err != nil {
		return err
	}
	if c.keep {
		c.say("still running: try \"penstock ls --etcd %s\"; Ctrl-C ends it", srv.Endpoint())
		if err := c.show(res); err != nil {
			return err
		}
		<-ctx.Done()
	} else {
		// Whatever a member still had to say is counted.
		if err := stage.end(res); err != nil {
			return err
		}
		if err := c.show(res); err != nil {
			return err
		}
	}
	if n := res.lost(); n > 0 {
		return fmt.Errorf("%d messages were lost", n)
	}
	return nil
}

func (c *demo) show(res *result) error {
	if c.json {
		return json.NewEncoder(c.out).Encode(res)
	}
	for _, g := range demoGroups {
		if _, err := fmt.Fprintf(c.out, "%-8s %s\n", g, res.Groups[g]); err != nil {
			return err
		}
	}
	return nil
}

// stage is the members at work and the books on what they report.
type stage struct {
	members []*demoMember
	reports chan reported
	tallies map[string]*tally
	began   time.Time
}

// demoMember is one process.
type demoMember struct {
	group, id string
	cmd       *exec.Cmd
	stdin     io.Closer
	own       int  // reports so far
	gone      bool // its output has ended
}

func (m *demoMember) name() string { return m.group + "/" + m.id }

// reported is a line of a member; nil means that its output ended.
type reported struct {
	from *demoMember
	line *report
	err  error
}

// cast starts the members and waits until all of them have joined. The stage it
// answers is to be closed, also on an error.
func (c *demo) cast(ctx context.Context, endpoint string) (*stage, error) {
	s := &stage{reports: make(chan reported, 4096), tallies: make(map[string]*tally)}
	self, err := os.Executable()
	if err != nil {
		return s, err
	}
	ready := make(chan error, len(demoGroups)*len(demoMembers))
	for _, g := range demoGroups {
		s.tallies[g] = newTally(c.messages)
		for _, id := range demoMembers {
			args := []string{"demo-member", demoDest, g, id, "--etcd", endpoint, "--etcd-timeout", "30s", "--prefix", "/penstock"}
			for range c.verbose {
				args = append(args, "-v")
			}
			m := &demoMember{group: g, id: id, cmd: exec.Command(self, args...)}
			m.cmd.Stderr = c.err
			if err := s.begin(m, ready); err != nil {
				return s, fmt.Errorf("start member %s: %w", m.name(), err)
			}
		}
	}
	for range s.members {
		select {
		case err := <-ready:
			if err != nil {
				return s, err
			}
		case <-ctx.Done():
			return s, incompletef("the members were not ready: %v", context.Cause(ctx))
		}
	}
	for _, m := range s.members {
		c.say("member      %s (pid %d)", m.name(), m.cmd.Process.Pid)
	}
	return s, nil
}

// begin starts one member and a reader of what it says.
func (s *stage) begin(m *demoMember, ready chan<- error) error {
	stdin, err := m.cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := m.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	m.stdin = stdin
	s.members = append(s.members, m)
	go func() {
		in := bufio.NewReaderSize(stdout, 64<<10)
		if first, err := in.ReadString('\n'); err != nil || first != demoReady+"\n" {
			ready <- fmt.Errorf("member %s ended before it was ready", m.name())
		} else {
			ready <- nil
		}
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				// What a killed member had half written it had not acked.
				s.reports <- reported{from: m}
				return
			}
			r, err := parseReport(line[:len(line)-1])
			s.reports <- reported{from: m, line: &r, err: err}
		}
	}()
	return nil
}

// close ends the processes that still run, at once.
func (s *stage) close() {
	for _, m := range s.members {
		m.stdin.Close()
		_ = m.cmd.Process.Kill() // it has ended by itself, most likely
	}
	for _, m := range s.members {
		for !m.gone {
			r := <-s.reports
			r.from.gone = r.from.gone || r.line == nil
		}
		_ = m.cmd.Wait() // how it ended does not matter any more
	}
}

// take enters one report.
func (s *stage) take(r reported) error {
	switch {
	case r.err != nil:
		return r.err
	case r.line == nil:
		r.from.gone = true
		return nil
	}
	r.from.own++
	return s.tallies[r.from.group].add(*r.line, time.Now())
}

// reportedAll tells whether every group has had every message.
func (s *stage) reportedAll(messages int) bool {
	for _, t := range s.tallies {
		if t.distinct < messages {
			return false
		}
	}
	return true
}

// handled is the progress over all groups.
func (s *stage) handled() (n int) {
	for _, t := range s.tallies {
		n += t.distinct
	}
	return n
}

// results fills res in and answers it.
func (s *stage) results(sent int, res *result) *result {
	res.Sent = sent
	for g, t := range s.tallies {
		res.Groups[g] = t.result(sent, s.began)
	}
	return res
}

// end lets the members leave, in order, and counts their last words.
func (s *stage) end(res *result) error {
	for _, m := range s.members {
		m.stdin.Close()
	}
	late := time.NewTimer(drainFor)
	defer late.Stop()
	for slices.ContainsFunc(s.members, func(m *demoMember) bool { return !m.gone }) {
		select {
		case r := <-s.reports:
			if err := s.take(r); err != nil {
				return err
			}
		case <-late.C:
			return incompletef("a member does not end")
		}
	}
	s.results(res.Sent, res)
	return nil
}

// settleFor is how long reports may still be on their way when all is acked.
const settleFor = 3 * time.Second

// play sends, kills and counts until every group has acked everything.
func (c *demo) play(ctx context.Context, d *penstock.Destination, s *stage, lines []string) (*result, error) {
	victim := s.members[slices.IndexFunc(s.members, func(m *demoMember) bool { return m.name() == "billing/2" })]
	res := &result{Groups: make(map[string]groupResult)}
	bar := c.progress(int64(c.messages * len(demoGroups)))
	defer bar.stop()

	s.began = time.Now()
	script := newScript(d, lines, c.messages, victim.cmd.Process)
	sending, cancel := context.WithCancel(ctx)
	go script.run(sending)
	defer func() {
		cancel()
		<-script.over
	}()

	over, settled, started := script.over, (<-chan time.Time)(nil), script.started
	for over != nil || res.Killed == nil || !s.reportedAll(c.messages) {
		if started != nil && atWork(s.tallies[victim.group].distinct, victim.own, c.messages) {
			close(started)
			started = nil
		}
		select {
		case r := <-s.reports:
			if err := s.take(r); err != nil {
				return nil, err
			}
			bar.at(int64(s.handled()))
			if r.line != nil {
				continue
			}
			if r.from != victim || !script.hasKilled() {
				return nil, fmt.Errorf("member %s ended in the middle", r.from.name())
			}
			res.Killed = &killed{victim.name(), victim.cmd.Process.Pid, victim.own}
			bar.stop()
			c.tellKilled(res.Killed)
		case <-over:
			if script.err != nil && ctx.Err() == nil {
				return nil, script.err
			}
			// All is acked, so all is reported: what is missing soon is lost.
			over, settled = nil, time.After(settleFor)
		case <-settled:
			return s.results(int(script.sent.Load()), res), nil
		case <-ctx.Done():
			return nil, incompletef("%d of %d messages sent: %v", script.sent.Load(), c.messages, context.Cause(ctx))
		}
	}
	return s.results(int(script.sent.Load()), res), nil
}

func (c *demo) tellKilled(k *killed) {
	w := c.out
	if c.json {
		w = c.err // standard output is for the object
	}
	fmt.Fprintf(w, "killed member %s (pid %d) after %d messages\n", k.Member, k.PID, k.After)
}

// script is the sender's part.
type script struct {
	dest     *penstock.Destination
	lines    []string
	messages int
	victim   *os.Process
	started  chan struct{} // to be closed when the victim is at work
	killing  chan struct{} // closed just before the kill
	sent     atomic.Int64
	over     chan struct{} // closed at the end, after err is set
	err      error
}

func newScript(d *penstock.Destination, lines []string, messages int, victim *os.Process) *script {
	return &script{
		dest: d, lines: lines, messages: messages, victim: victim,
		started: make(chan struct{}), killing: make(chan struct{}), over: make(chan struct{}),
	}
}

// run sends everything, kills the victim on the way, and waits for the acks.
func (s *script) run(ctx context.Context) {
	defer close(s.over)
	for n := range s.messages {
		if n == pauseAt(s.messages) {
			select {
			case <-s.started:
			case <-ctx.Done():
			}
		}
		if n == killAt(s.messages) {
			close(s.killing)
			if s.err = s.victim.Kill(); s.err != nil {
				return
			}
		}
		if s.err = s.dest.Send(ctx, penstock.Message{Value: numbered(s.lines, n)}); s.err != nil {
			return
		}
		s.sent.Add(1)
	}
	s.err = s.dest.Flush(ctx)
}

func (s *script) hasKilled() bool {
	select {
	case <-s.killing:
		return true
	default:
		return false
	}
}

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct{ bar *progressbar.ProgressBar }

func (c *demo) progress(total int64) progress {
	f, ok := c.err.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return progress{}
	}
	return progress{progressbar.NewOptions64(total,
		progressbar.OptionSetWriter(f), progressbar.OptionSetDescription("handled"),
		progressbar.OptionThrottle(65*time.Millisecond), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionClearOnFinish())}
}

func (p progress) at(n int64) {
	if p.bar != nil {
		_ = p.bar.Set64(n) // a terminal that cannot show it
	}
}

func (p progress) stop() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
