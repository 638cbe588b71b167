package penstock_test

// The architecture, checked: which way imports run, where goroutines may
// begin, that every package says what it is for, and how times are printed.

import (
	"cmp"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const modulePath = "github.com/penstock-io/penstock"

// command is where the packages of cmd/penstock are.
const command = "cmd/penstock/internal/"

// scenarios are what benchmarks and the command "bench" run.
const scenarios = "benchmarks/scenario"

// arrows are the packages of ours that a package may import, by directory; the
// longest directory that matches decides. "x/..." means x and all below it.
// Test files are free, but for the leaves.
var arrows = map[string][]string{
	".":                                {"actors", "messages", "supervisor"},
	"actors":                           {"actors/props", "actors/lending", "actors/pipes", "actors/pipes/senders", "actors/pipes/members", "actors/topics", "actors/topics/groups", "actors/topics/tables", "actors/internal/...", "supervisor", "discovery", "discovery/lease", "discovery/registry", "discovery/pipegroup", "transport/address", "transport/carrier", "transport/commitlog", "messages/..."},
	"actors/lending":                   {"actors/pipes", "actors/pipes/senders", "actors/pipes/members", "actors/topics/groups", "actors/internal/usercode", "messages/..."},
	"actors/props":                     {"actors/pipes/senders", "actors/pipes/members", "actors/topics", "actors/topics/groups", "actors/internal/usercode", "supervisor", "messages/..."},
	"actors/pipes":                     {"actors/pipes/senders", "actors/pipes/members", "actors/pipes/internal/links", "actors/internal/node", "discovery/destinations", "discovery/pipegroup", "supervisor", "messages/..."},
	"actors/pipes/members":             {"actors/pipes/internal/frames", "actors/pipes/internal/links", "actors/pipes/internal/plain", "actors/pipes/internal/recvq", "actors/pipes/internal/slot", "actors/internal/chain", "actors/internal/node", "actors/internal/tracing", "actors/internal/worker", "actors/internal/usercode", "supervisor", "discovery", "discovery/registry", "discovery/pipegroup", "transport/carrier", "transport/frame", "transport/nanomsg", "transport/socket", "messages/..."},
	"actors/pipes/senders":             {"actors/pipes/internal/asks", "actors/pipes/internal/links", "actors/pipes/internal/plain", "actors/pipes/internal/sendq", "actors/internal/chain", "actors/internal/node", "actors/internal/tracing", "actors/internal/worker", "actors/internal/usercode", "supervisor", "discovery", "discovery/registry", "discovery/pipegroup", "transport/address", "transport/carrier", "transport/frame", "transport/nanomsg", "transport/socket", "messages/..."},
	"actors/topics":                    {"actors/topics/groups", "actors/topics/tables", "actors/topics/internal/governor", "actors/topics/internal/quota", "actors/topics/internal/window", "actors/topics/internal/keeper", "actors/topics/internal/schedule", "actors/topics/internal/topiclog", "actors/topics/internal/produce", "actors/topics/internal/tail", "actors/internal/chain", "actors/internal/node", "actors/internal/tracing", "actors/internal/worker", "actors/internal/usercode", "supervisor", "transport/commitlog", "transport/commitlog/format", "messages/..."},
	"actors/topics/groups":             {"actors/topics/internal/topiclog", "actors/topics/internal/lanes", "actors/topics/internal/peers", "actors/topics/internal/prefetch", "actors/topics/internal/rebalance", "actors/internal/chain", "actors/internal/node", "actors/internal/tracing", "actors/internal/worker", "actors/internal/usercode", "supervisor", "discovery", "discovery/registry", "transport/commitlog", "transport/commitlog/format", "messages/..."},
	"actors/topics/tables":             {"actors/topics/internal/topiclog", "actors/topics/internal/keyed", "actors/topics/internal/tail", "actors/internal/node", "supervisor", "discovery", "transport/commitlog", "transport/commitlog/format", "messages/..."},
	"actors/topics/internal/keyed":     {"transport/commitlog/format", "messages/..."},
	"actors/topics/internal/topiclog":  {"actors/topics/internal/produce", "actors/topics/internal/quota", "actors/topics/internal/tail", "actors/internal/node", "supervisor", "discovery", "transport/commitlog", "transport/commitlog/format", "messages/..."},
	"actors/topics/internal/peers":     {"actors/topics/internal/rebalance", "actors/internal/node", "supervisor", "transport/pulse", "messages/..."},
	"actors/topics/internal/lanes":     {"transport/commitlog/format", "messages/..."},
	"actors/topics/internal/prefetch":  {"actors/internal/usercode", "actors/topics/internal/lanes", "transport/commitlog/format", "messages/..."},
	"actors/topics/internal/quota":     {"messages/..."},
	"actors/topics/internal/governor":  {"actors/topics/internal/quota", "actors/internal/node", "supervisor", "discovery", "messages/..."},
	"actors/topics/internal/window":    {"transport/commitlog/format", "messages/..."},
	"actors/topics/internal/produce":   {"actors/topics/internal/window", "actors/internal/usercode", "transport/commitlog/format", "messages/..."},
	"actors/topics/internal/compact":   {"transport/commitlog/format", "messages/..."},
	"actors/topics/internal/schedule":  {"messages/..."},
	"actors/topics/internal/keeper":    {"actors/topics/internal/compact", "actors/topics/internal/produce", "actors/topics/internal/schedule", "actors/internal/node", "supervisor", "discovery", "transport/commitlog", "transport/commitlog/format", "messages/..."},
	"actors/topics/internal/rebalance": {"transport/commitlog/format", "messages/..."},
	"actors/topics/internal/tail":      {"transport/commitlog/format", "messages/..."},
	"actors/pipes/internal/frames":     {"transport/frame"},
	"actors/pipes/internal/links":      {"transport/address", "transport/carrier", "messages/..."},
	"actors/pipes/internal/affinity":   {},
	"actors/pipes/internal/order":      {"transport/frame"},
	"actors/pipes/internal/recvq":      {"actors/pipes/internal/frames", "actors/pipes/internal/order", "actors/internal/age", "actors/internal/usercode", "transport/frame", "messages/..."},
	"actors/pipes/internal/plain":      {"actors/pipes/internal/recvq", "actors/pipes/internal/sendq", "actors/pipes/internal/slot", "actors/internal/node", "supervisor", "transport/frame", "transport/nanomsg", "messages/..."},
	"actors/pipes/internal/asks":       {"messages/..."},
	"actors/pipes/internal/slot":       {},
	"actors/pipes/internal/sendq":      {"actors/internal/age", "actors/pipes/internal/affinity", "actors/pipes/internal/asks", "actors/pipes/internal/order", "transport/frame", "messages/..."},
	"actors/internal/node":             {"actors/internal/events", "actors/internal/tracing", "actors/internal/usercode", "supervisor", "discovery", "discovery/registry", "discovery/pipegroup", "messages/..."},
	"actors/internal/session":          {"actors/internal/node", "supervisor", "discovery", "discovery/lease", "discovery/registry", "discovery/pipegroup", "messages/..."},
	"actors/internal/enginetest":       {"actors", "actors/internal/node", "discovery", "discovery/embedded", "supervisor", "messages/..."},
	"actors/internal/worker":           {"actors/internal/node", "actors/internal/usercode", "supervisor", "messages/..."},
	"actors/internal/events":           {"actors/internal/usercode", "messages/..."},
	"actors/internal/usercode":         {"messages/..."},
	"actors/internal/age":              {},
	"actors/internal/chain":            {"messages/..."},
	"actors/internal/tracing":          {"actors/internal/chain", "messages/..."},
	"supervisor":                       {},
	"transport":                        {"messages/..."},
	"transport/frame":                  {"messages/..."},
	"transport/address":                {"messages/..."},
	"transport/carrier":                {"transport/address", "messages/..."},
	"transport/carrier/carriertest":    {"transport/carrier"},
	"transport/pulse":                  {"transport/address", "messages/..."},
	"transport/nanomsg":                {"transport/address", "transport/carrier", "messages/..."},
	"transport/socket":                 {"transport/address", "transport/carrier", "transport/frame", "messages/..."},
	"transport/socket/conformance":     {"transport/socket", "transport/address", "transport/carrier", "transport/frame", "messages/..."},
	"transport/commitlog":              {"transport/commitlog/format", "transport/commitlog/internal/joined", "messages/..."},
	"transport/commitlog/format":       {"transport/commitlog/format", "messages/..."},
	"transport/commitlog/internal":     {},
	"discovery":                        {"discovery/internal/retry", "discovery/internal/stream", "messages/..."},
	"discovery/lease":                  {"discovery", "discovery/internal/retry", "messages/..."},
	"discovery/registry":               {"discovery", "discovery/internal/retry", "discovery/internal/stream", "messages/..."},
	"discovery/pipegroup":              {"discovery", "discovery/lease", "discovery/internal/retry", "messages/..."},
	"discovery/destinations":           {"discovery", "messages/..."},
	"discovery/embedded":               {"messages/..."},
	"discovery/internal":               {},
	"discovery/internal/etcdtest":      {"discovery/embedded"},
	"messages":                         {"messages/..."},
	"penstocktest":                     {".", "penstocktest", "penstocktest/internal/server", "actors", "discovery/...", "messages/...", "supervisor", "transport/..."},
	"cmd":                              {"..."},
	"cmd/penstock":                     {"cmd/penstock/internal/..."},
	command + "archive":                {"messages"},
	command + "backup":                 {".", "messages/...", "transport/commitlog/format", command + "archive", command + "cli"},
	command + "bench":                  {scenarios + "/...", ".", command + "cli"},
	command + "cli":                    {".", "actors", "discovery", "messages/..."},
	command + "lines":                  {".", "messages", command + "cli"},
	command + "inventory":              {".", "discovery", "discovery/destinations", "messages/...", "transport/commitlog/format", command + "cli"},
	command + "look":                   {"messages/...", command + "cli", command + "inventory"},
	command + "pipes":                  {".", "actors", "discovery", "messages/...", command + "cli", command + "lines", command + "inventory"},
	command + "topics":                 {".", "actors", "messages/...", command + "cli", command + "lines", command + "inventory"},
	command + "letters":                {".", "messages/...", command + "cli", command + "lines"},
	command + "schedules":              {".", "messages/...", command + "cli", command + "lines"},
	command + "demo":                   {".", "messages/...", "discovery/embedded", command + "cli", command + "lines"},
	command + "doctor":                 {".", "actors", "discovery", "messages/...", "transport/address", "transport/carrier", command + "cli", command + "inventory"},
	command + "serve":                  {".", "discovery/embedded", command + "cli"},
	command + "version":                {command + "cli"},
	"docs":                             {"..."},
	"examples":                         {"..."},
	"benchmarks":                       {"..."},
	"benchmarks/internal/results":      {},
}

// pure are the packages that decide and encode. Neither they nor their tests reach
// what waits: actors, etcd, sockets.
var pure = []string{
	"actors/topics/internal/keyed",
	"actors/topics/internal/lanes",
	"actors/topics/internal/prefetch",
	"actors/topics/internal/produce",
	"actors/topics/internal/rebalance",
	"actors/topics/internal/window",
	"actors/topics/internal/compact",
	"actors/topics/internal/quota",
	"actors/topics/internal/schedule",
	"actors/pipes/internal/frames",
	"actors/pipes/internal/links",
	"actors/pipes/internal/affinity",
	"actors/pipes/internal/order",
	"actors/pipes/internal/recvq",
	"actors/pipes/internal/asks",
	"actors/pipes/internal/sendq",
	"actors/pipes/internal/slot",
	"actors/internal/age",
	"actors/internal/chain",
	"actors/internal/usercode",
	"actors/topics/internal/tail",
	"benchmarks/internal/results",
	command + "archive",
	"transport/address",
	"transport/commitlog/format",
	"transport/commitlog/internal/joined",
	"transport/frame",
}

// impure is what they must not reach, through whatever they import.
var impure = []string{"github.com/asynkron/protoactor-go", "go.etcd.io", "google.golang.org/grpc", "go.nanomsg.org/mangos"}

// leaves are imported by nothing outside themselves, not even by tests, but for
// what the arrows of a program name.
var leaves = []string{"cmd", "examples", "benchmarks"}

// owners are the only places that may use a foreign library.
var owners = []struct {
	lib    string
	places []string
	tests  testFiles
}{
	{"go.nanomsg.org/mangos/v3", []string{"transport/socket", "transport/nanomsg", "benchmarks"}, bound},
	{"github.com/asynkron/protoactor-go", []string{".", "supervisor", "actors", "examples", "penstocktest", "benchmarks"}, free},
	{"go.etcd.io/etcd/client/v3", []string{".", "discovery", "transport/commitlog", "actors", "penstocktest", "cmd", "examples", "benchmarks"}, free},
	{"go.opentelemetry.io", []string{".", "actors"}, free},
	{"go.etcd.io/etcd/server/v3", []string{"discovery/embedded", "penstocktest/internal/server", "benchmarks/internal/part"}, free},
	{"google.golang.org/grpc", []string{"discovery", "transport/commitlog", "penstocktest", "cmd"}, free},
	{"github.com/gobwas/ws", []string{"transport/carrier"}, free},
	{"golang.org/x/sync/errgroup", nil, bound},
	{"math/rand", nil, bound},
}

// testFiles says whether a rule holds in them.
type testFiles bool

const bound, free testFiles = false, true

// mayBegin are the places that may begin goroutines and timers by themselves;
// everybody else has a supervisor.Host. Test files are free.
var mayBegin = map[string]string{
	"supervisor":                  "the Host",
	"transport/socket":            "mangos calls us on its goroutines, connections need their own",
	"transport/nanomsg":           "connections of a listener need their own, which Close awaits",
	"transport/pulse":             "connections of a listener need their own, which Serve awaits",
	"actors/internal/events":      "the last lines are logged when no actor is left",
	"discovery/embedded":          "an etcd that failed may never end, and is left behind",
	"cmd":                         "programs",
	"examples":                    "programs",
	"benchmarks":                  "programs",
	"penstocktest":                "helpers of tests",
	"discovery/internal/stream":   "gRPC holds up whoever receives from a stream",
	"discovery/internal/etcdtest": "helpers of tests",
	"actors/internal/enginetest":  "helpers of tests",
}

// source is one parsed Go file.
type source struct {
	path string // with slashes, from the module's root
	test bool
	set  *token.FileSet
	file *ast.File
}

func (s source) dir() string {
	if i := strings.LastIndexByte(s.path, '/'); i >= 0 {
		return s.path[:i]
	}
	return "."
}

func (s source) at(n ast.Node) string {
	return fmt.Sprintf("%s:%d", s.path, s.set.Position(n.Pos()).Line)
}

func parse(t *testing.T, path, text string) source {
	t.Helper()
	s := source{path: path, test: strings.HasSuffix(path, "_test.go"), set: token.NewFileSet()}
	var err error
	if s.file, err = parser.ParseFile(s.set, path, text, parser.ParseComments|parser.SkipObjectResolution); err != nil {
		t.Fatal(err)
	}
	return s
}

// parsed is what sources has read, for the tests to come.
var parsed []source

// sources reads every Go file of this module; nested modules are others.
func sources(t *testing.T) (all []source) {
	t.Helper()
	if parsed != nil {
		return parsed
	}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			name := d.Name()
			if path != "." && (err == nil || name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_")) {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		all = append(all, parse(t, filepath.ToSlash(path), string(text)))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found %d Go files: this is not the root of the module", len(all))
	}
	parsed = all
	return all
}

// under reports whether dir is root, or below it.
func under(dir, root string) bool { return dir == root || strings.HasPrefix(dir, root+"/") }

// isWithin reports whether dir is one of places or below one; the root has nothing
// below it.
func isWithin(dir string, places []string) bool {
	return slices.ContainsFunc(places, func(p string) bool { return dir == p || p != "." && under(dir, p) })
}

// lookup is the value of the longest key that dir is under.
func lookup[V any](m map[string]V, dir string) (key string, v V, ok bool) {
	for k, x := range m {
		if isWithin(dir, []string{k}) && (!ok || len(k) > len(key)) {
			key, v, ok = k, x, true
		}
	}
	return key, v, ok
}

func matches(patterns []string, dir string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		root, deep := strings.CutSuffix(p, "/...")
		return p == "..." || dir == root || deep && under(dir, root)
	})
}

// wrongWays are the imports of s that the rules do not allow.
func wrongWays(s source) (faults []string) {
	dir := s.dir()
	for _, spec := range s.file.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			continue
		}
		for _, o := range owners {
			exempt := isWithin(dir, o.places) || s.test && o.tests == free
			if under(path, o.lib) && path != "math/rand/v2" && !exempt {
				faults = append(faults, fmt.Sprintf("%s: %s is for %v only", s.at(spec), path, o.places))
			}
		}
		ours, ok := strings.CutPrefix(path, modulePath)
		if !ok || ours != "" && ours[0] != '/' {
			continue
		}
		target := cmp.Or(strings.TrimPrefix(ours, "/"), ".")
		for _, leaf := range leaves {
			if under(target, leaf) && !under(dir, leaf) && (!under(dir, "cmd") || !under(target, scenarios)) {
				faults = append(faults, fmt.Sprintf("%s: nothing may import %s", s.at(spec), target))
			}
		}
		rule, allowed, known := lookup(arrows, dir)
		switch {
		case s.test:
		case !known:
			faults = append(faults, fmt.Sprintf("%s: no rule for package %s: add its arrows", s.at(spec), dir))
		case !matches(allowed, target):
			faults = append(faults, fmt.Sprintf("%s: %s may import %v of this module, not %s", s.at(spec), rule, allowed, target))
		}
	}
	return faults
}

// reaches are those of deps, as go list prints them, that a pure package may not have.
func reaches(deps string) (faults []string) {
	for _, dep := range strings.Fields(deps) {
		if slices.ContainsFunc(impure, func(lib string) bool { return under(dep, lib) }) {
			faults = append(faults, dep)
		}
	}
	return faults
}

func TestPurePackagesReachNothingThatWaits(t *testing.T) {
	for _, dir := range pure {
		out, err := exec.Command("go", "list", "-deps", "-test", "-f", "{{.ImportPath}}", "./"+dir).CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", dir, err, out)
		}
		if faults := reaches(string(out)); len(faults) > 0 {
			t.Errorf("%s is pure and reaches %q", dir, faults)
		}
	}
}

// begins are the places in s where a goroutine or a timer's function begins:
// go statements, and calls of anything named Go or AfterFunc, which takes in
// sync.WaitGroup, errgroup, time and context.
func begins(s source) (found []ast.Node) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			found = append(found, n)
		case *ast.CallExpr:
			if f, ok := n.Fun.(*ast.SelectorExpr); ok && (f.Sel.Name == "Go" || f.Sel.Name == "AfterFunc") {
				found = append(found, n)
			}
		}
		return true
	})
	return found
}

func TestImportsRunOneWay(t *testing.T) {
	for _, s := range sources(t) {
		for _, fault := range wrongWays(s) {
			t.Error(fault)
		}
	}
}

// etcdNames are what actors may use of etcd's client: a lease's id, and the
// settings of who starts an engine. Transactions are in discovery and commitlog.
var etcdNames = []string{"LeaseID", "Config"}

// etcdUses lists what a file uses of etcd's client besides etcdNames.
func etcdUses(s source) (faults []string) {
	ast.Inspect(s.file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == "clientv3" && !slices.Contains(etcdNames, sel.Sel.Name) {
				faults = append(faults, fmt.Sprintf("%s: clientv3.%s: actors ask discovery or commitlog", s.at(sel), sel.Sel.Name))
			}
			if name := sel.Sel.Name; name == "Txn" || name == "TimeToLive" {
				faults = append(faults, fmt.Sprintf("%s: %s: actors ask discovery or commitlog", s.at(sel), name))
			}
		}
		return true
	})
	return faults
}

func TestActorsHaveNoTransactions(t *testing.T) {
	for _, s := range sources(t) {
		if under(s.dir(), "actors") && !s.test && s.dir() != "actors/internal/enginetest" { // that is for tests
			for _, fault := range etcdUses(s) {
				t.Error(fault)
			}
		}
	}
}

func TestGoroutinesBeginInHostsOnly(t *testing.T) {
	used := make(map[string]bool)
	for _, s := range sources(t) {
		where, _, exempt := lookup(mayBegin, s.dir())
		if s.test {
			continue
		}
		for _, n := range begins(s) {
			if exempt {
				used[where] = true
				continue
			}
			t.Errorf("%s: a bare goroutine or timer; let a supervisor.Host own it", s.at(n))
		}
	}
	for _, where := range []string{"supervisor", "transport/socket"} {
		if !used[where] {
			t.Errorf("%s begins no goroutine any more: take it off the list", where)
		}
	}
}

func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	docs := make(map[string]string)
	for _, s := range sources(t) {
		if !s.test {
			docs[s.dir()] += s.file.Doc.Text()
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(docs)) {
		if strings.TrimSpace(docs[dir]) == "" {
			t.Errorf("package %s has no doc comment", dir)
		}
	}
}

// oddTimes are where s would print a duration as encoding/json or slog's JSON
// handler spell it, in nanoseconds that nothing tells of, or in another unit
// than the rest. Everything printed has milliseconds, under a name that ends in
// _ms, and points in time as time.Time, which is RFC 3339.
func oddTimes(s source) (faults []string) {
	if s.test || under(s.dir(), "benchmarks") { // those have microseconds to tell of, and say so
		return nil
	}
	ast.Inspect(s.file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.Field:
			if n.Tag == nil {
				break
			}
			tag, _ := strconv.Unquote(n.Tag.Value)
			name, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
			if name != "" && (mentions(n.Type, "time", "Duration") || otherUnit.MatchString(name)) {
				faults = append(faults, fmt.Sprintf("%s: %q: a duration is printed as an integer of milliseconds, under a name that ends in _ms", s.at(n), name))
			}
		case *ast.CallExpr:
			if mentions(n.Fun, "slog", "Duration") {
				faults = append(faults, fmt.Sprintf("%s: slog.Duration is nanoseconds in JSON: log milliseconds, under a name that ends in _ms", s.at(n)))
			}
		}
		return true
	})
	return faults
}

var otherUnit = regexp.MustCompile(`_(ns|us|s|secs?|seconds|mins?|minutes|nanos|unix)$`)

// mentions reports whether pkg.name is n or part of it.
func mentions(n ast.Node, pkg, name string) (found bool) {
	ast.Inspect(n, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == name {
			x, ok := sel.X.(*ast.Ident)
			found = found || ok && x.Name == pkg
		}
		return true
	})
	return found
}

func TestTimesArePrintedInOneWay(t *testing.T) {
	for _, s := range sources(t) {
		for _, fault := range oddTimes(s) {
			t.Error(fault)
		}
	}
}

// The rules themselves, on sources made up to break them.
func TestArchitectureRules(t *testing.T) {
	imports := func(path string) string { return "package p\nimport _ \"" + path + "\"\n" }
	for name, tc := range map[string]struct {
		path, text string
		wrong      int
	}{
		"messages over actors":        {"messages/a.go", imports(modulePath + "/actors"), 1},
		"messages over its pb":        {"messages/a.go", imports(modulePath + "/messages/pb"), 0},
		"supervisor over messages":    {"supervisor/a.go", imports(modulePath + "/messages"), 1},
		"frame over socket":           {"transport/frame/a.go", imports(modulePath + "/transport/socket"), 1},
		"siblings":                    {"discovery/a.go", imports(modulePath + "/transport/socket"), 1},
		"actors over discovery":       {"actors/a.go", imports(modulePath + "/discovery"), 0},
		"actors over embedded":        {"actors/a.go", imports(modulePath + "/discovery/embedded"), 1},
		"root over embedded":          {"a.go", imports(modulePath + "/discovery/embedded"), 1},
		"root's tests over embedded":  {"a_test.go", imports(modulePath + "/discovery/embedded"), 0},
		"actors over root":            {"actors/a.go", imports(modulePath), 1},
		"tests over a program":        {"actors/a_test.go", imports(modulePath + "/cmd/penstock"), 1},
		"a program over all":          {"examples/topic/a.go", imports(modulePath + "/discovery/embedded"), 0},
		"the program over a command":  {"cmd/penstock/a.go", imports(modulePath + "/" + command + "topics"), 0},
		"a frame over a command":      {command + "cli/a.go", imports(modulePath + "/" + command + "pipes"), 1},
		"lines over the demo":         {command + "lines/a.go", imports(modulePath + "/" + command + "demo"), 1},
		"topics over pipes":           {command + "topics/a.go", imports(modulePath + "/" + command + "pipes"), 1},
		"a name that begins the same": {"messages/a.go", imports(modulePath + "-extras/x"), 0},
		"an unknown package":          {"newcomer/a.go", imports(modulePath + "/messages"), 1},
		"mangos outside its room":     {"actors/a.go", imports("go.nanomsg.org/mangos/v3/protocol/push"), 1},
		"mangos in tests elsewhere":   {"actors/a_test.go", imports("go.nanomsg.org/mangos/v3"), 1},
		"proto.actor in messages":     {"messages/a.go", imports("github.com/asynkron/protoactor-go/actor"), 1},
		"pipes over topics":           {"actors/pipes/a.go", imports(modulePath + "/actors/topics"), 1},
		"senders over members":        {"actors/pipes/senders/a.go", imports(modulePath + "/actors/pipes/members"), 1},
		"topics over pipes' halves":   {"actors/topics/groups/a.go", imports(modulePath + "/actors/pipes/senders"), 1},
		"the engine over both":        {"actors/a.go", "package p\nimport (\n_ \"" + modulePath + "/actors/pipes\"\n_ \"" + modulePath + "/actors/topics\"\n)\n", 0},
		"traces in the supervisor":    {"supervisor/a.go", imports("go.opentelemetry.io/otel/metric"), 1},
		"the old math/rand":           {"actors/a.go", imports("math/rand"), 1},
		"the new math/rand":           {"actors/a.go", imports("math/rand/v2"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := wrongWays(parse(t, tc.path, tc.text)); len(got) != tc.wrong {
				t.Errorf("%d faults, want %d: %q", len(got), tc.wrong, got)
			}
		})
	}
	deps := "fmt\nmangos\ngo.nanomsg.org/mangos/v3/protocol\ngoogle.golang.org/grpcx\ngoogle.golang.org/protobuf/proto\ngo.etcd.io/etcd/api/v3/mvccpb\n"
	if got := reaches(deps); len(got) != 2 {
		t.Errorf("reached %q, want 2", got)
	}
	s := parse(t, "actors/a.go", `package p
func f() {
	go g()
	var wg sync.WaitGroup
	wg.Go(g)
	time.AfterFunc(0, g)
	stop := context.AfterFunc(ctx, func() { go g() })
	h.Run("a", g)
}`)
	if got := len(begins(s)); got != 5 {
		t.Errorf("%d beginnings found, want 5", got)
	}
	s = parse(t, "actors/a.go", `package p
func f(l clientv3.LeaseID, c clientv3.Config) {
	c.Client.Txn(ctx).Then(clientv3.OpPut("k", "v"))
}`)
	if got := etcdUses(s); len(got) != 2 {
		t.Errorf("uses of etcd %q, want 2", got)
	}
	s = parse(t, "cmd/penstock/a.go", "package p"+`
type a struct {
	Wait  time.Duration            `+"`json:\"wait\"`"+`
	Waits map[string][]time.Duration `+"`json:\"waits_ms,omitempty\"`"+`
	Took  float64                  `+"`json:\"took_s\"`"+`
	Delay int64                    `+"`json:\"delay_ms\"`"+`
	Since *time.Time               `+"`json:\"since\"`"+`
	Quiet time.Duration
}
func f() { log(slog.Duration("wait", w)) }`)
	if got := oddTimes(s); len(got) != 4 {
		t.Errorf("odd times %q, want 4", got)
	}
}
