package docs_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// Commands that the pages show.

// lines returns the command lines of a block of shell: continued lines joined,
// comments and empty lines left out.
func lines(text string) (all []string) {
	for _, line := range strings.Split(strings.ReplaceAll(text, "\\\n", " "), "\n") {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "#") {
			all = append(all, line)
		}
	}
	return all
}

// words splits what one program is given: up to a pipe, a redirection, a
// comment, or the end of the line. Quotes are honoured.
func words(s string) (all []string) {
	var word strings.Builder
	in, quote := false, rune(0)
	flush := func() {
		if in {
			all = append(all, word.String())
			word.Reset()
			in = false
		}
	}
	for _, r := range s {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, in = r, true
		case r == ' ':
			flush()
		case r == '#' && !in, strings.ContainsRune("|&;<>)", r):
			flush()
			return all
		default:
			word.WriteRune(r)
			in = true
		}
	}
	flush()
	return all
}

var (
	callsPenstock = regexp.MustCompile(`(?:^|[|&;(]\s*)(?:bin/)?penstock((?:\s[^|&;<>]*)?)`)
	callsMake     = regexp.MustCompile(`(?m)(?:^|[|&;(]\s*)make\s+([a-z-]+)`)
	quoted        = regexp.MustCompile("`(?:bin/)?(penstock|make) ([^`]+)`")
)

// Promise: each command of penstock in a page is one that it has, with flags and
// arguments that it takes.
func TestCommandsParse(t *testing.T) {
	quick(t)
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	type call struct{ line, where string }
	found := map[call]bool{} // whether it may lack arguments, as in prose
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if b.lang() != "sh" {
				continue
			}
			for _, line := range lines(b.text) {
				for _, at := range callsPenstock.FindAllStringIndex(line, -1) {
					_, args, _ := strings.Cut(line[at[0]:], "penstock")
					found[call{strings.TrimSpace(args), b.String()}] = false
				}
			}
		}
		for _, line := range p.prose {
			for _, m := range quoted.FindAllStringSubmatch(line, -1) {
				if m[1] == "penstock" && !strings.Contains(m[2], "…") {
					found[call{m[2], p.path}] = true
				}
			}
		}
	}
	if len(found) < 20 {
		t.Fatalf("only %d commands were found", len(found))
	}
	slots := make(chan struct{}, 4)
	var wg sync.WaitGroup
	for c, lacks := range found {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			code, said := parses(t, path, words(c.line))
			if lacks && strings.Contains(said, "arguments are missing") {
				return
			}
			if code != 0 {
				t.Errorf("%s: penstock %s: code %d\n%s", c.where, c.line, code, said)
			}
		})
	}
	wg.Wait()
}

// local are commands that do not ask etcd. Those that would run are asked for their
// help only; it reads their flags first.
var local = map[string]bool{"serve": true, "demo": true, "actors": false, "version": false, "completion": false}

// usageCode is the exit code of a command that was used wrongly.
const usageCode = 2

// parses runs a command against an etcd that does not exist and returns 0 unless
// it complains of its usage. Usage is judged before etcd is asked.
func parses(t *testing.T, path string, args []string) (code int, said string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	dir := t.TempDir()
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "$PWD", dir)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	if len(args) > 0 {
		if asks, known := local[args[0]]; known && asks {
			cmd.Args = append(cmd.Args, "--help")
		} else if !known {
			cmd.Args = append(cmd.Args, "--etcd-timeout", "50ms")
		}
	}
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PENSTOCK_ETCD=127.0.0.1:1", "ETCDCTL_ENDPOINTS=127.0.0.1:1")
	for _, a := range args {
		if strings.HasSuffix(a, ".txt") && !strings.HasPrefix(a, "-") {
			if err := os.WriteFile(filepath.Join(cmd.Dir, a), []byte("line\n"), 0o600); err != nil {
				t.Error(err)
			}
		}
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0, ""
	case ctx.Err() != nil || !errors.As(err, &exit):
		return -1, err.Error()
	case exit.ExitCode() == usageCode:
		return usageCode, string(out)
	default:
		return 0, "" // there is no etcd
	}
}

// Promise: each target of make in a page is one of the Makefile.
func TestMakeTargets(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	targets := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(string(makefile), -1) {
		targets[m[1]] = true
	}
	found := 0
	check := func(where, target string) {
		found++
		if !targets[target] {
			t.Errorf("%s: make %s: the Makefile has no such target", where, target)
		}
	}
	for _, p := range read(t, "*.md", "docs/*.md") {
		for _, b := range p.blocks {
			if b.lang() == "sh" {
				for _, m := range callsMake.FindAllStringSubmatch(b.text, -1) {
					check(b.String(), m[1])
				}
			}
		}
		for _, line := range p.prose {
			for _, m := range quoted.FindAllStringSubmatch(line, -1) {
				if m[1] == "make" {
					check(p.path, strings.Fields(m[2])[0])
				}
			}
		}
	}
	if found == 0 {
		t.Fatal("no page names a target of make")
	}
}

// Promise: blocks that are marked run do what the page shows, one page after the
// other in one shell, against an etcd.
func TestCommandsRun(t *testing.T) {
	quick(t)
	t.Parallel()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, p := range pages(t) {
		dir := t.TempDir()
		if err := os.MkdirAll(filepath.Join(dir, "bin"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(dir, "bin", "penstock")); err != nil {
			t.Fatal(err)
		}
		for _, b := range p.blocks {
			if b.lang() != "sh" || !b.runs() {
				continue
			}
			ran++
			out, err := output(dir, []string{
				"PENSTOCK_ETCD=" + etcd.Endpoint(), "PENSTOCK_PREFIX=/" + strings.TrimSuffix(filepath.Base(p.path), ".md"),
			}, "bash", "-euo", "pipefail", "-c", b.text)
			if err != nil {
				t.Errorf("%s: %v", b, err)
			} else if b.checks && !alike(b.output, out) {
				t.Errorf("%s: printed\n%swhere the page has\n%s", b, out, b.output)
			}
		}
	}
	if ran == 0 {
		t.Fatal("no block is marked run")
	}
}

// alike compares what a page shows with what was printed. An … in the page is
// anything within a line.
func alike(page, printed string) bool {
	want := strings.Split(strings.TrimSpace(page), "\n")
	got := strings.Split(strings.TrimSpace(printed), "\n")
	if len(want) != len(got) {
		return false
	}
	for i, line := range want {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.Join(strings.Fields(line), " ")), "…", ".*")
		if !regexp.MustCompile("^" + pattern + "$").MatchString(strings.Join(strings.Fields(got[i]), " ")) {
			return false
		}
	}
	return true
}
