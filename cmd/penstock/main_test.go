package main

// The program itself, run as a process against an etcd that it serves.

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// patience bounds every wait for something that must happen.
const patience = time.Minute

var (
	binary   string // the program
	endpoint string // of the etcd it serves
)

func TestMain(m *testing.M) { os.Exit(testMain(m)) }

func testMain(m *testing.M) int {
	fatal := func(err error) int {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	dir, err := os.MkdirTemp("", "penstock-cmd-")
	if err != nil {
		return fatal(err)
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "penstock")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".").CombinedOutput(); err != nil {
		return fatal(fmt.Errorf("%w: %s", err, out))
	}
	serve := exec.Command(binary, "serve", "--dir", filepath.Join(dir, "etcd"), "--listen", "127.0.0.1:0")
	serve.Stderr = os.Stderr
	stdout, err := serve.StdoutPipe()
	if err != nil {
		return fatal(err)
	}
	if err := serve.Start(); err != nil {
		return fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	var ready bool
	if endpoint, ready = strings.CutPrefix(strings.TrimSpace(line), "ready http://"); !ready || err != nil {
		return fatal(fmt.Errorf("serve says %q, %w", line, err))
	}
	code := m.Run()
	if err := errors.Join(serve.Process.Signal(syscall.SIGTERM), serve.Wait()); err != nil {
		code = fatal(fmt.Errorf("serve does not end in order: %w", err))
	}
	if code == 0 {
		if err := goleak.Find(); err != nil {
			code = fatal(err)
		}
	}
	return code
}

// process is the program at work.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout *bytes.Buffer // after wait
	exited chan struct{}

	mu     sync.Mutex
	stderr []string
	heard  chan struct{} // closed and replaced with each line
}

// begin starts the program in a namespace of the test's own. A nil stdout is
// collected.
func begin(t *testing.T, stdin io.Reader, stdout *os.File, args ...string) *process {
	t.Helper()
	return beginOf(t, binary, stdin, stdout, args...)
}

// beginOf starts another program than ours in the same way.
func beginOf(t *testing.T, program string, stdin io.Reader, stdout *os.File, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(program, args...), stdout: &bytes.Buffer{}, exited: make(chan struct{}), heard: make(chan struct{})}
	p.cmd.Env = append(clearedEnv(), "PENSTOCK_ETCD="+endpoint, "PENSTOCK_PREFIX="+prefixOf(t))
	p.cmd.Stdin = stdin
	p.cmd.Stdout = p.stdout
	if stdout != nil {
		p.cmd.Stdout = stdout
	}
	errs, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Logf("pid %d: penstock %s", p.cmd.Process.Pid, strings.Join(args, " "))
	go func() {
		defer close(p.exited)
		for in := bufio.NewScanner(errs); in.Scan(); {
			p.mu.Lock()
			p.stderr = append(p.stderr, in.Text())
			close(p.heard)
			p.heard = make(chan struct{})
			p.mu.Unlock()
		}
		_ = p.cmd.Wait() // the code is in its state
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has ended, unless the test failed
		<-p.exited
	})
	return p
}

var (
	prefixesMu sync.Mutex
	prefixes   = make(map[*testing.T]string)
)

// prefixOf is a namespace of one run of one test, as -count repeats it.
func prefixOf(t *testing.T) string {
	prefixesMu.Lock()
	defer prefixesMu.Unlock()
	if p, ok := prefixes[t]; ok {
		return p
	}
	prefixes[t] = fmt.Sprintf("/%s/run%d", t.Name(), len(prefixes))
	return prefixes[t]
}

// clearedEnv is ours without what etcd's clients look at.
func clearedEnv() (env []string) {
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "ETCDCTL_") && !strings.HasPrefix(e, "PENSTOCK_") {
			env = append(env, e)
		}
	}
	return env
}

// says waits for a line of standard error that contains text, and returns it.
func (p *process) says(text string) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	for {
		p.mu.Lock()
		lines, heard := p.stderr, p.heard
		p.mu.Unlock()
		for _, l := range lines {
			if strings.Contains(l, text) {
				return l
			}
		}
		select {
		case <-heard:
		case <-p.exited:
			p.mu.Lock()
			defer p.mu.Unlock()
			if all := strings.Join(p.stderr, "\n"); !strings.Contains(all, text) {
				p.t.Fatalf("ended without saying %q: %s", text, all)
			}
		case <-ctx.Done():
			p.t.Fatalf("does not say %q", text)
		}
	}
}

// ends waits for the end and returns what was said; the code must be the one
// given.
func (p *process) ends(want cli.ExitCode) (stdout, stderr string) {
	p.t.Helper()
	select {
	case <-p.exited:
	case <-time.After(patience):
		p.t.Fatalf("penstock %s does not end", strings.Join(p.cmd.Args[1:], " "))
	}
	stderr = strings.Join(p.stderr, "\n")
	if code := p.cmd.ProcessState.ExitCode(); code != int(want) {
		p.t.Fatalf("penstock %s ended with %d, want %d: %s", strings.Join(p.cmd.Args[1:], " "), code, want, stderr)
	}
	return p.stdout.String(), stderr
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// perform runs the program to its end.
func perform(t *testing.T, want cli.ExitCode, stdin string, args ...string) (stdout, stderr string) {
	t.Helper()
	return begin(t, strings.NewReader(stdin), nil, args...).ends(want)
}

// shows runs a command until its output has want in it: a member links and writes its keys
// side by side.
func shows(t *testing.T, want string, args ...string) (stdout string) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		out, _ := perform(t, cli.ExitDone, "", args...)
		if strings.Contains(out, want) {
			return out
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v does not show %q:\n%s", args, want, out)
		}
	}
}

func lastLine(s string) string {
	s = strings.TrimRight(s, "\n")
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// numbersTo is the lines from 1 to n.
func numbersTo(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintln(&b, i+1)
	}
	return b.String()
}
