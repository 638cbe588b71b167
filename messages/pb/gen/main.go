// Command gen compiles the .proto files of the directory above it into Go,
// with a compiler and a generator pinned in its go.mod.
//
//	cd messages/pb/gen && go run .          # writes *.pb.go
//	cd messages/pb/gen && go run . -check   # exits 1 when they are not current
//
// Generated files whose .proto is gone are removed, or reported by -check.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bufbuild/protocompile"
	"github.com/bufbuild/protocompile/linker"
	"github.com/bufbuild/protocompile/protoutil"
	"google.golang.org/protobuf/cmd/protoc-gen-go/internal_gengo"
	"google.golang.org/protobuf/compiler/protogen"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

const (
	goPackage = "github.com/penstock-io/penstock/messages/pb"
	// importDir prefixes the names under which files import each other and are
	// registered: the registry of a process is flat, and a bare wire.proto may
	// meet another one there.
	importDir = "penstock/"
	suffix    = ".pb.go"
)

var errStale = errors.New("generated files are not current: run `go generate` in messages/pb")

func main() {
	check := flag.Bool("check", false, "change nothing; fail when a generated file is not current")
	dir := flag.String("dir", "..", "directory of the .proto files and of the generated ones")
	flag.Parse()
	if err := run(context.Background(), *dir, *check, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, check bool, report io.Writer) error {
	want, err := generate(ctx, dir)
	if err != nil {
		return err
	}
	have, err := filepath.Glob(filepath.Join(dir, "*"+suffix))
	if err != nil {
		return err
	}
	changes := diff(dir, want, have)
	for _, c := range changes {
		fmt.Fprintf(report, "%s: %s\n", c.path, c.what)
		if check {
			continue
		}
		if err := c.apply(); err != nil {
			return err
		}
	}
	if check && len(changes) > 0 {
		return errStale
	}
	return nil
}

// generate compiles every .proto file of dir and answers the generated files
// by name.
func generate(ctx context.Context, dir string) (map[string][]byte, error) {
	names, err := protoFiles(dir)
	if err != nil {
		return nil, err
	}
	compiler := protocompile.Compiler{
		Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
			Accessor: func(path string) (io.ReadCloser, error) {
				name, ok := strings.CutPrefix(path, importDir)
				if !ok {
					return nil, fs.ErrNotExist
				}
				return os.Open(filepath.Join(dir, name))
			},
		}),
		// Comments of the .proto become comments of the Go code.
		SourceInfoMode: protocompile.SourceInfoStandard,
	}
	files, err := compiler.Compile(ctx, names...)
	if err != nil {
		return nil, fmt.Errorf("compile: %w", err)
	}
	plugin, err := protogen.Options{}.New(&pluginpb.CodeGeneratorRequest{
		FileToGenerate: names,
		Parameter:      new("module=" + goPackage),
		ProtoFile:      dependenciesFirst(files),
	})
	if err != nil {
		return nil, fmt.Errorf("plugin: %w", err)
	}
	for _, f := range plugin.Files {
		if f.Generate {
			internal_gengo.GenerateFile(plugin, f)
		}
	}
	response := plugin.Response()
	if response.Error != nil {
		return nil, fmt.Errorf("generate: %s", *response.Error)
	}
	out := make(map[string][]byte, len(response.File))
	for _, f := range response.File {
		out[f.GetName()] = []byte(f.GetContent())
	}
	return out, nil
}

func protoFiles(dir string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.proto"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("no .proto files in %s", dir)
	}
	slices.Sort(paths)
	names := make([]string, len(paths))
	for i, p := range paths {
		names[i] = importDir + filepath.Base(p)
	}
	return names, nil
}

// dependenciesFirst lists the files and what they import, each after its
// imports, as the plugin protocol wants them.
func dependenciesFirst(files linker.Files) []*descriptorpb.FileDescriptorProto {
	var out []*descriptorpb.FileDescriptorProto
	seen := make(map[string]bool)
	var visit func(f linker.File)
	visit = func(f linker.File) {
		if seen[f.Path()] {
			return
		}
		seen[f.Path()] = true
		imports := f.Imports()
		for i := range imports.Len() {
			if dep := f.FindImportByPath(imports.Get(i).Path()); dep != nil {
				visit(dep)
			}
		}
		out = append(out, protoutil.ProtoFromFileDescriptor(f))
	}
	for _, f := range files {
		visit(f)
	}
	return out
}

// change is one file of the directory that is not as it should be.
type change struct {
	path    string
	what    string
	content []byte // nil: the file is to go
}

func (c change) apply() error {
	if c.content == nil {
		return os.Remove(c.path)
	}
	return os.WriteFile(c.path, c.content, 0o644)
}

func diff(dir string, want map[string][]byte, have []string) []change {
	var changes []change
	for name, content := range want {
		path := filepath.Join(dir, name)
		old, err := os.ReadFile(path)
		switch {
		case err != nil:
			changes = append(changes, change{path: path, what: "missing", content: content})
		case !bytes.Equal(old, content):
			changes = append(changes, change{path: path, what: "not current", content: content})
		}
	}
	for _, path := range have {
		if _, ok := want[filepath.Base(path)]; !ok {
			changes = append(changes, change{path: path, what: "has no .proto file"})
		}
	}
	slices.SortFunc(changes, func(a, b change) int { return strings.Compare(a.path, b.path) })
	return changes
}
