package harness

// The doc comment of a package of fault tests says which test holds which
// promise. Here that is compared with the tests that exist.

import (
	"fmt"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// Promise is what a user may rely on, and the tests that hold it.
type Promise struct {
	Text  string
	Tests []string
}

// CheckPromises fails t when the doc.go beside the test names a test that does
// not exist, does not name one that does, or has a promise without a test. It
// returns the promises, in their order.
func CheckPromises(t *testing.T) []Promise {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "doc.go", nil, parser.ParseComments|parser.PackageClauseOnly)
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var tests []string
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		tests = append(tests, testsIn(string(text))...)
	}
	tests = slices.DeleteFunc(tests, func(name string) bool { return name == t.Name() || name == "TestMain" })
	promises := promisesIn(f.Doc.Text())
	for _, fault := range compare(promises, tests) {
		t.Error(fault)
	}
	return promises
}

var testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w+)\(`)

// testsIn are the names of the tests and fuzz targets of a file.
func testsIn(text string) (names []string) {
	for _, m := range testFunc.FindAllStringSubmatch(text, -1) {
		names = append(names, m[1])
	}
	return names
}

// promisesIn reads the table in a doc comment: a promise stands behind one tab,
// and its tests behind two, one a line.
func promisesIn(doc string) (all []Promise) {
	for line := range strings.Lines(doc) {
		text, indented := strings.CutPrefix(line, "\t")
		name, deep := strings.CutPrefix(text, "\t")
		switch {
		case deep && len(all) > 0:
			last := &all[len(all)-1]
			last.Tests = append(last.Tests, strings.TrimSpace(name))
		case indented:
			all = append(all, Promise{Text: strings.TrimSpace(text)})
		}
	}
	return all
}

// compare is what is wrong with the promises, given the tests that there are.
func compare(promises []Promise, tests []string) (faults []string) {
	unnamed := make(map[string]bool)
	for _, name := range tests {
		unnamed[name] = true
	}
	if len(promises) == 0 {
		faults = append(faults, "doc.go has no promise")
	}
	for _, p := range promises {
		if len(p.Tests) == 0 {
			faults = append(faults, fmt.Sprintf("doc.go: %q: no test holds that", p.Text))
		}
		for _, name := range p.Tests {
			if !slices.Contains(tests, name) {
				faults = append(faults, fmt.Sprintf("doc.go: %q: there is no %s", p.Text, name))
			}
			delete(unnamed, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(unnamed)) {
		faults = append(faults, fmt.Sprintf("doc.go does not say which promise %s holds", name))
	}
	return faults
}
