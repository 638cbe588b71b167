package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestGeneratedFilesAreCurrent(t *testing.T) {
	if err := run(t.Context(), "..", true, t.Output()); err != nil {
		t.Fatal(err)
	}
}

func TestCheckTellsAndRunRepairs(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	const head = "syntax = \"proto3\";\npackage t;\noption go_package = \"" + goPackage + "\";\n"
	write("b.proto", head+"message B { int32 n = 1; }\n")
	write("a.proto", head+"import \"penstock/b.proto\";\nmessage A { B b = 1; }\n")

	check := func(want error) {
		t.Helper()
		if err := run(t.Context(), dir, true, io.Discard); !errors.Is(err, want) {
			t.Fatalf("check: %v, want %v", err, want)
		}
	}
	repair := func() {
		t.Helper()
		if err := run(t.Context(), dir, false, io.Discard); err != nil {
			t.Fatal(err)
		}
		check(nil)
	}
	check(errStale)
	repair()
	write("a.pb.go", "package pb\n")
	check(errStale)
	repair()
	write("left.pb.go", "package pb\n")
	check(errStale)
	repair()
	if _, err := os.Stat(filepath.Join(dir, "left.pb.go")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file without a .proto is still there: %v", err)
	}
	write("a.proto", head+"message A { Missing m = 1; }\n")
	if err := run(t.Context(), dir, false, io.Discard); err == nil || errors.Is(err, errStale) {
		t.Errorf("a .proto that does not compile: %v", err)
	}
}
