package docs_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

// A page of the documentation, taken apart.

// page is one file in Markdown.
type page struct {
	path   string // from the module's root, with slashes
	text   string
	blocks []block
	// prose is the text without its blocks; lines keep their numbers.
	prose   []string
	anchors map[string]bool
}

// block is a fenced block of code.
type block struct {
	page *page
	line int    // of the opening fence, from 1
	info string // what follows the fence: "go", "go run", "sh", "text"
	text string
	// output is the text of the next block, when that is "text output".
	output string
	checks bool // whether there is such a block
}

func (b block) String() string { return fmt.Sprintf("%s:%d", b.page.path, b.line) }

// lang is the first word of the block's info.
func (b block) lang() string {
	lang, _, _ := strings.Cut(b.info, " ")
	return lang
}

// runs reports whether the block is to be run, not only compiled or parsed.
func (b block) runs() bool { return slices.Contains(strings.Fields(b.info), "run") }

var heading = regexp.MustCompile(`^#{1,6}\s+(.*)$`)

func parsePage(path, text string) *page {
	p := &page{path: path, text: text, anchors: map[string]bool{}}
	var open *block
	fence := ""
	seen := map[string]int{}
	for i, line := range strings.Split(text, "\n") {
		trimmed := strings.TrimSpace(line)
		switch {
		case open == nil && strings.HasPrefix(trimmed, "```"):
			fence = line[:strings.Index(line, "```")]
			open = &block{page: p, line: i + 1, info: strings.TrimSpace(strings.TrimPrefix(trimmed, "```"))}
			p.prose = append(p.prose, "")
		case open != nil && trimmed == "```":
			if n := len(p.blocks); open.info == "text output" && n > 0 {
				p.blocks[n-1].output, p.blocks[n-1].checks = open.text, true
			}
			p.blocks = append(p.blocks, *open)
			open = nil
			p.prose = append(p.prose, "")
		case open != nil:
			open.text += strings.TrimPrefix(line, fence) + "\n"
			p.prose = append(p.prose, "")
		default:
			p.prose = append(p.prose, line)
			if m := heading.FindStringSubmatch(line); m != nil {
				a := anchor(m[1])
				if n := seen[a]; n > 0 {
					p.anchors[fmt.Sprintf("%s-%d", a, n)] = true
				} else {
					p.anchors[a] = true
				}
				seen[a]++
			}
		}
	}
	return p
}

// anchor is the name that GitHub gives to a heading.
func anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(heading) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			b.WriteRune(r)
		}
	}
	return b.String()
}

// pages reads README.md and all of docs.
func pages(t *testing.T) []*page {
	t.Helper()
	return read(t, "README.md", "docs/*.md")
}

// read reads the pages that match patterns.
func read(t *testing.T, patterns ...string) (all []*page) {
	t.Helper()
	for _, pattern := range patterns {
		found, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range found {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			rel, err := filepath.Rel(root, file)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, parsePage(filepath.ToSlash(rel), string(text)))
		}
	}
	if len(all) == 0 {
		t.Fatalf("no page is %q", patterns)
	}
	return all
}

// blocksOf returns the blocks of a language in all pages.
func blocksOf(t *testing.T, lang string) (all []block) {
	t.Helper()
	for _, p := range pages(t) {
		for _, b := range p.blocks {
			if b.lang() == lang {
				all = append(all, b)
			}
		}
	}
	if len(all) == 0 {
		t.Fatalf("no page has a block of %s", lang)
	}
	return all
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// Promise: each link to a file or a heading of this repository leads somewhere.
func TestLinks(t *testing.T) {
	everything := read(t, "*.md", "docs/*.md", "examples/*/*.md", "benchmarks/*.md")
	byPath := map[string]*page{}
	for _, p := range everything {
		byPath[p.path] = p
	}
	linked := map[string]bool{}
	for _, p := range everything {
		for i, line := range p.prose {
			for _, m := range link.FindAllStringSubmatch(line, -1) {
				target := m[1]
				if strings.Contains(target, "://") {
					continue
				}
				file, fragment, _ := strings.Cut(target, "#")
				path := p.path
				if file != "" {
					path = filepath.ToSlash(filepath.Join(filepath.Dir(p.path), file))
				}
				if _, err := os.Stat(filepath.Join(root, path)); err != nil {
					t.Errorf("%s:%d: %s leads nowhere", p.path, i+1, target)
					continue
				}
				if p.path == "docs/README.md" {
					linked[path] = true
				}
				if fragment == "" {
					continue
				}
				if to := byPath[path]; to == nil || !to.anchors[fragment] {
					t.Errorf("%s:%d: %s has no heading of that name", p.path, i+1, target)
				}
			}
		}
	}
	for _, p := range everything {
		if strings.HasPrefix(p.path, "docs/") && p.path != "docs/README.md" && !linked[p.path] {
			t.Errorf("docs/README.md does not list %s", p.path)
		}
	}
}

// Promise: README is a page that one reads to the end, and says how to test.
func TestReadme(t *testing.T) {
	readme := read(t, "README.md")[0]
	if n := len(readme.text); n < 6<<10 || n > 8<<10 {
		t.Errorf("README.md has %d bytes, it should be 6 to 8 KiB", n)
	}
	for _, command := range []string{"make build", "make demo", "make test", ".ci/run"} {
		if !strings.Contains(readme.text, command) {
			t.Errorf("README.md does not name %s", command)
		}
	}
}

// Promise: the tests of each promise in README can be found.
func TestPromisesHaveTests(t *testing.T) {
	readme := read(t, "README.md")[0]
	var rows []string
	for _, line := range readme.prose {
		if cells := strings.Split(line, " | "); len(cells) == 3 && strings.HasPrefix(line, "| ") && !strings.HasPrefix(line, "| |") {
			rows = append(rows, strings.TrimPrefix(cells[0], "| "))
		}
	}
	if len(rows) < 10 {
		t.Fatalf("README.md has only these promises: %q", rows)
	}
	for _, half := range []string{"pipes", "topics"} {
		doc, err := os.ReadFile(filepath.Join(root, "penstocktest", "faults", half, "doc.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			if !strings.Contains(string(doc), "\n//\t"+row+"\n") {
				t.Errorf("penstocktest/faults/%s/doc.go has no tests of %q", half, row)
			}
		}
	}
}

var goFile = regexp.MustCompile("`([a-z0-9_/]+\\.(?:go|proto))`")

// Promise: each file that a page names exists. A page may leave out the folders
// that its sentence is about.
func TestFilesExist(t *testing.T) {
	var files []string
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() && path != root && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		files = append(files, "/"+filepath.ToSlash(path))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range read(t, "*.md", "docs/*.md") {
		if p.path == "CHANGELOG.md" {
			continue // of the past
		}
		for i, line := range p.prose {
			for _, m := range goFile.FindAllStringSubmatch(line, -1) {
				if !slices.ContainsFunc(files, func(f string) bool { return strings.HasSuffix(f, "/"+m[1]) }) {
					t.Errorf("%s:%d: there is no file %s", p.path, i+1, m[1])
				}
			}
		}
	}
}

// riddles are words that a page must not use, with what to say in their place.
var riddles = map[string]string{
	"anew": "again", "goes on": "continues", "go on": "continue", "that is there": "that exists",
	"for ever": "forever", "begun": "started", "tells whether": "reports whether",
}

// quotation is what a page says of words, not with them.
var quotation = regexp.MustCompile(`"[^"]*"`)

// Promise: pages are written in plain words.
func TestWords(t *testing.T) {
	for _, p := range read(t, "*.md", "docs/*.md") {
		for i, line := range p.prose {
			if strings.HasPrefix(p.path, "docs/") && strings.Count(line, "`")%2 != 0 {
				t.Errorf("%s:%d: a span of code goes over the end of the line, where no test reads it", p.path, i+1)
			}
			line = quotation.ReplaceAllString(line, "")
			for word, plain := range riddles {
				if regexp.MustCompile(`(?i)\b` + word + `\b`).MatchString(line) {
					t.Errorf("%s:%d says %q; say %q", p.path, i+1, word, plain)
				}
			}
		}
	}
}
