package penstock_test

// The public face: what the documentation of this package shows is all that a
// caller needs. Types come from the compiled package, comments from its sources.

import (
	"go/ast"
	"go/doc"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// compiled returns packages of ours as the compiler exported them, and what they
// import.
func compiled(t *testing.T, fset *token.FileSet, paths ...string) []*types.Package {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}"}, paths...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.String())
	}
	files := make(map[string]string)
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), " ")
		files[path] = file
	}
	imports := importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(files[path]) })
	var pkgs []*types.Package
	for _, path := range paths {
		p, err := imports.Import(path)
		if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	return pkgs
}

// documented reads the comments of the package in dir.
func documented(t *testing.T, dir string) *doc.Package {
	t.Helper()
	fset := token.NewFileSet()
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no sources in %s: %v", dir, err)
	}
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	p, err := doc.NewFromFiles(fset, files, modulePath)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// commentOfTypes are the comments of a package's exported types.
func commentOfTypes(p *doc.Package) map[string]string {
	all := make(map[string]string)
	for _, t := range p.Types {
		all[t.Name] = t.Doc
	}
	return all
}

// declared is what a comment shows of a type, as Go: its indented lines.
func declared(t *testing.T, name, comment string) *ast.File {
	t.Helper()
	var src strings.Builder
	src.WriteString("package p\n")
	for line := range strings.Lines(comment) {
		if strings.HasPrefix(line, "\t") {
			src.WriteString(line)
		}
	}
	f, err := parser.ParseFile(token.NewFileSet(), name, src.String(), 0)
	if err != nil {
		t.Errorf("what the comment of %s shows is no Go: %v", name, err)
		return &ast.File{}
	}
	return f
}

// shown lists the fields and methods that f declares, one a line, as exported lists
// those of a type.
func shown(f *ast.File) (lines []string) {
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			lines = append(lines, d.Name.Name+signature(d.Type))
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				var list *ast.FieldList
				methods := false
				switch is := spec.(*ast.TypeSpec).Type.(type) {
				case *ast.StructType:
					list = is.Fields
				case *ast.InterfaceType:
					list, methods = is.Methods, true
				default:
					continue
				}
				for _, field := range list.List {
					typ := types.ExprString(field.Type)
					if fn, ok := field.Type.(*ast.FuncType); ok && methods && len(field.Names) == 1 {
						lines = append(lines, field.Names[0].Name+signature(fn))
						continue
					}
					if len(field.Names) == 0 {
						lines = append(lines, typ+" "+typ)
					}
					for _, name := range field.Names {
						lines = append(lines, name.Name+" "+typ)
					}
				}
			}
		}
	}
	slices.Sort(lines)
	return lines
}

// signature is a function's types without the names of what they are for.
func signature(f *ast.FuncType) string {
	list := func(l *ast.FieldList) string {
		var all []string
		for _, field := range l.List {
			for range max(1, len(field.Names)) {
				all = append(all, types.ExprString(field.Type))
			}
		}
		return strings.Join(all, ", ")
	}
	s := "(" + list(f.Params) + ")"
	if f.Results != nil {
		s += " (" + list(f.Results) + ")"
	}
	return s
}

// exported lists the exported fields and methods of a type. Types of ours stand
// there without their package.
func exported(typ types.Type) (lines []string) {
	named, ok := types.Unalias(typ).(*types.Named)
	if !ok {
		return nil
	}
	short := func(p *types.Package) string {
		if strings.HasPrefix(p.Path(), modulePath) {
			return ""
		}
		return p.Name()
	}
	tuple := func(of *types.Tuple) string {
		var all []string
		for v := range of.Variables() {
			all = append(all, types.TypeString(v.Type(), short))
		}
		return strings.Join(all, ", ")
	}
	method := func(m *types.Func) {
		if !m.Exported() {
			return
		}
		sig := m.Signature()
		line := m.Name() + "(" + tuple(sig.Params()) + ")"
		if sig.Results().Len() > 0 {
			line += " (" + tuple(sig.Results()) + ")"
		}
		lines = append(lines, line)
	}
	for m := range named.Methods() {
		method(m)
	}
	switch under := named.Underlying().(type) {
	case *types.Struct:
		for f := range under.Fields() {
			if f.Exported() {
				lines = append(lines, f.Name()+" "+types.TypeString(f.Type(), short))
			}
		}
	case *types.Interface:
		for m := range under.Methods() {
			method(m)
		}
	}
	slices.Sort(lines)
	return lines
}

// An alias hides what it stands for from the documentation: its comment declares it
// as the package does.
func TestCommentsOfAliasesShowEveryFieldAndMethod(t *testing.T) {
	root := compiled(t, token.NewFileSet(), modulePath)[0]
	comments := commentOfTypes(documented(t, "."))
	compared := 0
	for _, name := range root.Scope().Names() {
		obj, ok := root.Scope().Lookup(name).(*types.TypeName)
		if !ok || !obj.Exported() || !obj.IsAlias() {
			continue
		}
		if !strings.HasPrefix(comments[name], name+" ") {
			t.Errorf("the comment of %s begins with %.30q", name, comments[name])
		}
		want := exported(obj.Type())
		compared += len(want)
		if name == "Engine" { // the door to package actors: names are enough
			for _, line := range want {
				method, _, _ := strings.Cut(line, "(")
				if !regexp.MustCompile(`\b` + method + `\b`).MatchString(comments[name]) {
					t.Errorf("the comment of %s does not name %s", name, method)
				}
			}
			continue
		}
		if got := shown(declared(t, name, comments[name])); !slices.Equal(got, want) {
			t.Errorf("the comment of %s shows\n\t%s\nwant\n\t%s", name, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
	}
	if compared < 100 {
		t.Errorf("only %d fields and methods were compared", compared)
	}
}

// sentences are the comments of a package's error variables.
func sentences(t *testing.T, p *doc.Package) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for _, v := range p.Vars {
		for _, spec := range v.Decl.Specs {
			value := spec.(*ast.ValueSpec)
			for _, name := range value.Names {
				if strings.HasPrefix(name.Name, "Err") {
					all[name.Name] = value.Doc.Text()
				}
			}
		}
	}
	return all
}

// Every error says when it comes, here and in package messages in the same words.
func TestEveryErrorHasItsSentence(t *testing.T) {
	root, below := sentences(t, documented(t, ".")), sentences(t, documented(t, "messages"))
	if len(below) == 0 {
		t.Fatal("no error was found")
	}
	for name, want := range below {
		if root[name] != want {
			t.Errorf("%s: the root says %q, package messages %q", name, root[name], want)
		}
	}
	for name, says := range root {
		if !strings.HasPrefix(says, name+": ") || !strings.HasSuffix(says, ".\n") {
			t.Errorf("%s has no sentence of its own: %q", name, says)
		}
	}
}

// nameless walks what is exported and finds types of other packages of ours that
// have no name in the root package.
type nameless struct {
	root  *types.Package
	named map[*types.TypeName]bool // what the root's aliases stand for
	seen  map[types.Type]bool
	found func(at string, typ types.Type)
}

func namelessIn(root *types.Package, found func(at string, typ types.Type)) *nameless {
	n := &nameless{root: root, named: make(map[*types.TypeName]bool), seen: make(map[types.Type]bool), found: found}
	for _, name := range root.Scope().Names() {
		if obj, ok := root.Scope().Lookup(name).(*types.TypeName); ok && obj.IsAlias() && obj.Exported() {
			if to, ok := types.Unalias(obj.Type()).(*types.Named); ok {
				n.named[to.Obj()] = true
			}
		}
	}
	return n
}

// all walks the root package.
func (n *nameless) all() {
	for _, name := range n.root.Scope().Names() {
		if obj := n.root.Scope().Lookup(name); obj.Exported() && name != "Engine" { // the door to the other package
			n.walk(name, obj.Type())
		}
	}
}

func (n *nameless) walk(at string, typ types.Type) {
	typ = types.Unalias(typ)
	if n.seen[typ] {
		return
	}
	if named, ok := typ.(*types.Named); ok {
		obj := named.Obj()
		if obj.Pkg() == nil || !strings.HasPrefix(obj.Pkg().Path(), modulePath) {
			n.walkArgs(at, named)
			return
		}
		if obj.Pkg() != n.root && !n.named[obj] {
			n.found(at, typ)
			return
		}
		n.seen[typ] = true
		if obj.Name() == "Engine" {
			return
		}
		n.walkArgs(at, named)
		for m := range named.Methods() {
			if m.Exported() {
				n.walk(at+"."+m.Name(), m.Type())
			}
		}
		n.walk(at, named.Underlying())
		return
	}
	switch is := typ.(type) {
	case *types.Pointer:
		n.walk(at, is.Elem())
	case *types.Slice:
		n.walk(at, is.Elem())
	case *types.Array:
		n.walk(at, is.Elem())
	case *types.Chan:
		n.walk(at, is.Elem())
	case *types.Map:
		n.walk(at, is.Key())
		n.walk(at, is.Elem())
	case *types.Signature:
		for v := range is.Params().Variables() {
			n.walk(at, v.Type())
		}
		for v := range is.Results().Variables() {
			n.walk(at, v.Type())
		}
	case *types.Struct:
		for f := range is.Fields() {
			if f.Exported() {
				n.walk(at+"."+f.Name(), f.Type())
			}
		}
	case *types.Interface:
		for m := range is.Methods() {
			if m.Exported() {
				n.walk(at+"."+m.Name(), m.Type())
			}
		}
	}
}

func (n *nameless) walkArgs(at string, named *types.Named) {
	for arg := range named.TypeArgs().Types() {
		n.walk(at, arg)
	}
}

// Who uses this package needs to import no other of ours to name what he holds.
func TestSignaturesShowTypesWithANameHere(t *testing.T) {
	root := compiled(t, token.NewFileSet(), modulePath)[0]
	n := namelessIn(root, func(at string, typ types.Type) { t.Errorf("%s shows %s, which has no name here", at, typ) })
	n.all()
	walked := len(n.seen)
	// Without its names, the same walk finds something.
	found := 0
	n = namelessIn(root, func(string, types.Type) { found++ })
	clear(n.named)
	n.all()
	if walked == 0 || found == 0 {
		t.Errorf("%d types were looked at; without names %d have none", walked, found)
	}
}

// The contract of a call stands here only: what package actors has of the same name
// refers to it.
func TestHandlesOfActorsReferToTheContract(t *testing.T) {
	pkgs := compiled(t, token.NewFileSet(), modulePath, modulePath+"/actors")
	here := documented(t, ".")
	referred := 0
	for name, below := range map[string]string{
		"Runtime": "Engine", "Destination": "Destination", "Member": "Member", "Topic": "Topic", "Subscription": "Subscription",
	} {
		obj := types.Unalias(pkgs[1].Scope().Lookup(below).Type()).(*types.Named).Obj()
		dir := strings.TrimPrefix(obj.Pkg().Path(), modulePath+"/")
		comments := commentsOfMethods(documented(t, dir), obj.Name())
		for method, contract := range commentsOfMethods(here, name) {
			says, ok := comments[method]
			if !ok || strings.Count(contract, "\n") < 2 {
				continue
			}
			referred++
			if to := "penstock." + name + "." + method; !strings.Contains(says, to) {
				t.Errorf("the comment of %s.%s in %s does not refer to %s: %q", below, method, dir, to, says)
			}
		}
	}
	if referred < 30 {
		t.Errorf("only %d methods were compared", referred)
	}
}

// commentsOfMethods are the comments of the exported methods of a type.
func commentsOfMethods(p *doc.Package, typ string) map[string]string {
	all := make(map[string]string)
	for _, t := range p.Types {
		if t.Name != typ {
			continue
		}
		for _, m := range t.Methods {
			all[m.Name] = m.Doc
		}
	}
	return all
}

// Pages that the package's documentation names exist, and none is forgotten.
func TestDocumentationNamesEveryPage(t *testing.T) {
	named := regexp.MustCompile(`[a-z-]+\.md`).FindAllString(documented(t, ".").Doc, -1)
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var there []string
	for _, page := range pages {
		if name := filepath.Base(page); name != "README.md" { // the list of them
			there = append(there, name)
		}
	}
	slices.Sort(named)
	if !slices.Equal(named, there) || len(named) == 0 {
		t.Errorf("named are %v, there are %v", named, there)
	}
}
