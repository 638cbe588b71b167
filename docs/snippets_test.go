package docs_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/format"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Snippets of Go that the pages show.

const modulePath = "github.com/penstock-io/penstock"

// given is what a fragment may use without declaring it. A fragment that says
// otherwise has its own.
const given = `
var (
	ctx     context.Context
	rt      *penstock.Runtime
	orders  *penstock.Destination
	billing *penstock.Member
	audit   *penstock.Topic
	sub     *penstock.Subscription
	msg     penstock.Message
	msgs    []penstock.Message
	logger  *slog.Logger
	body, id, user []byte
	yesterday time.Time
	t       *testing.T
	err     error
)

func bill(value []byte) error              { return nil }
func store(p int, o int64, v []byte) error { return nil }
func handle(value []byte) error            { return nil }
`

// imports are those of fragments that import nothing themselves.
var imports = []string{
	"context", "crypto/tls", "crypto/x509", "errors", "fmt", "log", "log/slog", "net/http", "os", "os/signal", "slices", "syscall", "testing", "time",
	modulePath, modulePath + "/discovery", modulePath + "/discovery/embedded", modulePath + "/messages",
	modulePath + "/penstocktest", modulePath + "/supervisor",
	"github.com/asynkron/protoactor-go/actor", "go.etcd.io/etcd/client/v3", "go.opentelemetry.io/otel", "go.opentelemetry.io/otel/metric",
	"go.opentelemetry.io/otel/sdk/metric", "go.opentelemetry.io/otel/sdk/trace", "golang.org/x/time/rate",
}

// names of imports that are not the last part of their path.
var importNames = map[string]string{
	"github.com/asynkron/protoactor-go/actor": "actor",
	"go.etcd.io/etcd/client/v3":               "clientv3",
	"go.opentelemetry.io/otel/sdk/metric":     "sdkmetric",
	"go.opentelemetry.io/otel/sdk/trace":      "sdktrace",
}

// program makes a file of a block: it is one, or declarations, or statements.
// before is how many lines stand before the block's own.
func program(b block) (text string, before int) {
	if strings.HasPrefix(b.text, "package ") || strings.HasPrefix(b.text, "//") && strings.Contains(b.text, "\npackage ") {
		return b.text, 0
	}
	body := given + b.text
	if !isDeclaration(b.text) {
		body = given + "func _() error {\n" + b.text + "\nreturn nil\n}\n"
	}
	var head strings.Builder
	head.WriteString("package snippet\n\nimport (\n")
	for _, path := range imports {
		name := importNames[path]
		if name == "" {
			name = path[strings.LastIndexByte(path, '/')+1:]
		}
		if regexp.MustCompile(`\b` + name + `\.`).MatchString(body) {
			fmt.Fprintf(&head, "\t%s %q\n", name, path)
		}
	}
	head.WriteString(")\n")
	before = strings.Count(head.String()+body[:strings.Index(body, b.text)], "\n")
	return head.String() + body, before
}

// isDeclaration reports whether a fragment begins with a function or a type.
func isDeclaration(text string) bool {
	for _, line := range strings.Split(text, "\n") {
		if strings.HasPrefix(line, "//") || strings.TrimSpace(line) == "" {
			continue
		}
		return strings.HasPrefix(line, "func ") && !strings.HasPrefix(line, "func()") || strings.HasPrefix(line, "type ")
	}
	return false
}

// exported lists the export data of all packages that snippets may import.
var exported = sync.OnceValues(func() (map[string]string, error) {
	args := append([]string{"list", "-export", "-deps", "-json=ImportPath,Export"}, imports...)
	out, err := output(root, nil, "go", args...)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	dec := json.NewDecoder(strings.NewReader(out))
	for {
		var p struct{ ImportPath, Export string }
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return files, nil
		} else if err != nil {
			return nil, err
		}
		files[p.ImportPath] = p.Export
	}
})

// typesOf reads packages from their export data.
func typesOf(t *testing.T, set *token.FileSet) types.Importer {
	t.Helper()
	files, err := exported()
	if err != nil {
		t.Fatal(err)
	}
	return importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) {
		if files[path] == "" {
			return nil, fmt.Errorf("%s is not among the packages of snippets", path)
		}
		return os.Open(files[path])
	})
}

// Promise: each snippet compiles. What it declares it need not use.
func TestSnippetsCompile(t *testing.T) {
	set := token.NewFileSet()
	from := typesOf(t, set)
	for _, b := range blocksOf(t, "go") {
		text, before := program(b)
		file, err := parser.ParseFile(set, b.String(), text, parser.SkipObjectResolution)
		if err != nil {
			t.Errorf("%s, %d lines before: %v", b, before, err)
			continue
		}
		conf := types.Config{Importer: from, Error: func(err error) {
			var e types.Error
			if errors.As(err, &e) && !e.Soft {
				t.Errorf("%s:%d: %s", b.page.path, b.line+set.Position(e.Pos).Line-before, e.Msg)
			}
		}}
		_, _ = conf.Check("snippet", set, []*ast.File{file}, nil) // errors went to Error
	}
}

// Promise: snippets are formatted as gofmt does.
func TestSnippetsFormatted(t *testing.T) {
	for _, b := range blocksOf(t, "go") {
		formatted, err := format.Source([]byte(b.text))
		if err != nil {
			t.Errorf("%s: %v", b, err)
		} else if string(formatted) != b.text {
			t.Errorf("%s should be\n%s", b, formatted)
		}
	}
}

var (
	isTest    = regexp.MustCompile(`(?m)^func (Test[A-Za-z]+)\(t \*testing\.T\) \{`)
	isPackage = regexp.MustCompile(`(?m)^package \w+\n`)
)

// Promise: programs and tests that are marked run do what the page says.
func TestProgramsRun(t *testing.T) {
	quick(t)
	t.Parallel()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	dir, err := filepath.Abs(filepath.Join(root, "docs", "programs"))
	if err != nil {
		t.Fatal(err)
	}
	scratch := t.TempDir()
	add := func(name, text string) {
		file := filepath.Join(scratch, strings.ReplaceAll(name, "/", "-"))
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(dir, name)] = file
	}
	// One program links once and runs each of them; tests among them as tests.
	var programs []block
	choose := "package main\n\nimport (\n\t\"os\"\n\t\"testing\"\n"
	calls := "var all = map[string]func(){\n"
	for _, b := range blocksOf(t, "go") {
		if !b.runs() {
			continue
		}
		n := strconv.Itoa(len(programs))
		text, _ := program(b)
		call := "p" + n + ".Main"
		if m := isTest.FindStringSubmatch(b.text); m != nil {
			call = fmt.Sprintf("func() { test(p%s.%s) }", n, m[1])
		}
		text = strings.ReplaceAll(text, "127.0.0.1:2379", etcd.Endpoint())
		text = isPackage.ReplaceAllString(text, "package p"+n+"\n")
		text = strings.Replace(text, "\nfunc main() {", "\nfunc Main() {", 1)
		add("p"+n+"/main.go", text)
		choose += fmt.Sprintf("\tp%s %q\n", n, modulePath+"/docs/programs/p"+n)
		calls += fmt.Sprintf("\t%q: %s,\n", n, call)
		programs = append(programs, b)
	}
	if len(programs) == 0 {
		t.Fatal("no program is marked run")
	}
	add("main.go", choose+")\n\n"+calls+"}\n"+`
func main() { all[os.Args[1]]() }

func test(f func(*testing.T)) {
	testing.Init()
	any := func(_, _ string) (bool, error) { return true, nil }
	if !testing.RunTests(any, []testing.InternalTest{{Name: "Test", F: f}}) {
		os.Exit(1)
	}
}
`)
	replace, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	replaced := filepath.Join(scratch, "overlay.json")
	if err := os.WriteFile(replaced, replace, 0o600); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(bin, "programs")
	if err := command(root, nil, "go", "build", "-overlay", replaced, "-o", path, "./docs/programs"); err != nil {
		t.Fatal(err)
	}
	for i, b := range programs {
		out, err := output(t.TempDir(), nil, path, strconv.Itoa(i))
		if err != nil {
			t.Errorf("%s: %v", b, err)
		} else if b.checks && !alike(b.output, out) {
			t.Errorf("%s: printed\n%swhere the page has\n%s", b, out, b.output)
		}
	}
}
