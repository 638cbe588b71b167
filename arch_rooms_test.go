package penstock_test

// The architecture, checked: how large a package and a file may get, and words
// that comments do without.

import (
	"go/ast"
	"path"
	"regexp"
	"strings"
	"testing"
)

const (
	// mostFiles is how many files a package may have, tests apart.
	mostFiles = 15
	// mostFaces is how many files the two packages have that are one by nature: the
	// face, and the values that every other package speaks in.
	mostFaces = 24
	// mostTransactions is that of the package that has all transactions of etcd.
	mostTransactions = 26
	// mostLines is how many lines a file may have, tests and generated code apart.
	mostLines = 500
)

// wordless are phrases that comments do without, and what to say instead.
var wordless = []struct {
	phrase  *regexp.Regexp
	instead string
}{
	{regexp.MustCompile(`\btells? whether\b`), "reports whether"},
	{regexp.MustCompile(`\banew\b`), "again"},
	{regexp.MustCompile(`\bfor ever\b`), "forever, or without end"},
}

func TestPackagesAndFilesAreRooms(t *testing.T) {
	files := make(map[string][]string)
	docs := make(map[string]bool)
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		name := path.Base(s.path)
		docs[s.dir()] = docs[s.dir()] || name == "doc.go"
		if ast.IsGenerated(s.file) {
			continue
		}
		files[s.dir()] = append(files[s.dir()], name)
		if n := s.set.File(s.file.FileStart).LineCount(); n > mostLines {
			t.Errorf("%s has %d lines, more than %d: part it by type", s.path, n, mostLines)
		}
	}
	for dir, names := range files {
		most := mostFiles
		switch dir {
		case ".", "messages":
			most = mostFaces
		case "transport/commitlog":
			most = mostTransactions
		}
		if len(names) > most {
			t.Errorf("%s has %d files, more than %d: find a package of its own for some", dir, len(names), most)
		}
		if program := under(dir, "examples") || under(dir, "benchmarks"); !docs[dir] && !program {
			t.Errorf("%s has no doc.go: say there what the package promises", dir)
		}
	}
}

func TestCommentsUseTheFieldsWords(t *testing.T) {
	for _, s := range sources(t) {
		for _, group := range s.file.Comments {
			text := strings.ReplaceAll(group.Text(), "\n", " ")
			for _, w := range wordless {
				if found := w.phrase.FindString(text); found != "" {
					t.Errorf("%s: %q: say %s", s.at(group), found, w.instead)
				}
			}
		}
	}
}
