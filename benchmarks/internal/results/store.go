package results

// Files, written and read.

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Encode writes f. It sets f.Schema.
func Encode(w io.Writer, f *File) error {
	f.Schema = Schema
	e := json.NewEncoder(w)
	e.SetIndent("", " ")
	return e.Encode(f)
}

// Decode reads one file, and refuses what is not one of this Schema.
func Decode(r io.Reader) (*File, error) {
	f := &File{}
	if err := json.NewDecoder(r).Decode(f); err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	if err := f.check(); err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	return f, nil
}

// Open reads the file at path.
func Open(path string) (*File, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := Decode(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

// Store writes f into dir, which it makes, as <date>-<commit>.json, or with a
// number behind that when there is one already. It returns the path.
func Store(dir string, f *File) (string, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	commit := f.Commit
	if commit == "" {
		commit = "unknown"
	}
	base := filepath.Join(dir, f.Began.UTC().Format("2006-01-02")+"-"+commit)
	for n := 1; ; n++ {
		path := base + ".json"
		if n > 1 {
			path = fmt.Sprintf("%s-%d.json", base, n)
		}
		w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return "", err
		}
		return path, errors.Join(Encode(w, f), w.Close())
	}
}
