package embedded

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// smallDisk is a file system of its own, as large as an etcd needs to begin.
func smallDisk(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=160m"); err != nil {
		t.Skip("no file system of our own: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// fill takes what is left of the disk.
func fill(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	for block := make([]byte, 1<<20); len(block) > 0; {
		if _, err := f.Write(block); err != nil {
			block = block[:len(block)/2]
		}
	}
	return f.Close()
}

// A full disk makes etcd panic in a goroutine of its own. The program goes on,
// hears why and what to do, and nothing is taken for written that is not. The
// server that failed is left behind, so the program is a child.
func TestFullDisk(t *testing.T) {
	if dir := os.Getenv("PENSTOCK_TEST_FULL_DISK"); dir != "" {
		if err := meetFullDisk(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(3)
		}
		os.Exit(0) // no look for what is left behind
	}
	t.Parallel()
	dir := smallDisk(t)
	child := exec.CommandContext(testContext(t), os.Args[0], "-test.run=^TestFullDisk$")
	child.Env = append(os.Environ(), "PENSTOCK_TEST_FULL_DISK="+dir)
	if out, err := child.CombinedOutput(); err != nil {
		t.Fatalf("the program with the server: %v\n%s", err, out)
	}
	if err := os.Remove(filepath.Join(dir, "ballast")); err != nil {
		t.Fatal(err)
	}
	s, err := Start(testContext(t), filepath.Join(dir, "etcd"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := dial(t, s).Get(testContext(t), "k", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(filepath.Join(dir, "written"))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(written); got.Count < int64(n) {
		t.Errorf("%d puts were answered, %d are there", n, got.Count)
	}
}

// meetFullDisk fills the disk under a server and notes a byte in a file for each
// put that it answers.
func meetFullDisk(dir string) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	data := filepath.Join(dir, "etcd")
	s, err := Start(ctx, data)
	if err != nil {
		return err
	}
	cfg := s.Config()
	cfg.Logger = zap.NewNop()
	c, err := clientv3.New(cfg)
	if err != nil {
		return err
	}
	defer c.Close()
	note := make([]byte, 0, 1000)
	if err := os.WriteFile(filepath.Join(dir, "written"), make([]byte, 4096), 0o600); err != nil {
		return err
	}
	if err := fill(filepath.Join(dir, "ballast")); err != nil {
		return err
	}
	value := strings.Repeat("x", 256<<10)
	var failure error
	for failure == nil && ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		_, err := c.Put(attempt, fmt.Sprintf("k%d", len(note)), value)
		cancel()
		if err == nil {
			note = append(note, '.')
			continue
		}
		select {
		case failure = <-s.Err():
		case <-time.After(20 * time.Second):
			return errors.New("Err says nothing")
		}
	}
	if !errors.Is(failure, syscall.ENOSPC) {
		return fmt.Errorf("Err wraps no ENOSPC: %w", failure)
	}
	for _, part := range []string{"no space left on device", "make room", data} {
		if !strings.Contains(failure.Error(), part) {
			return fmt.Errorf("%q is missing in %w", part, failure)
		}
	}
	began := time.Now()
	_ = s.Close() // it may be left behind
	if took := time.Since(began); took > closeFailedFor+5*time.Second {
		return fmt.Errorf("Close took %v", took)
	}
	if err, open := <-s.Err(); open {
		return fmt.Errorf("after Close: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "written"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if _, err := f.Write(note); err != nil {
		return err
	}
	return errors.Join(f.Truncate(int64(len(note))), f.Close())
}

// Whatever etcd's logger is told to be fatal, in whatever goroutine, is an
// error with the line's message, fields and causes.
func TestFatalLinesAreErrors(t *testing.T) {
	for name, say := range map[string]func(*zap.Logger){
		"fatal": func(l *zap.Logger) {
			l.Fatal("failed to commit", zap.String("path", "/db"), zap.Error(syscall.ENOSPC))
		},
		"panic": func(l *zap.Logger) {
			l.Panic("failed to commit", zap.String("path", "/db"), zap.Error(syscall.ENOSPC))
		},
		"panic of raft": func(l *zap.Logger) { l.Sugar().Panicf("failed to commit %s: %v", "/db", syscall.ENOSPC) },
		"with fields":   func(l *zap.Logger) { l.Named("x").Fatal("failed to commit /db", zap.Error(syscall.ENOSPC)) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, core := range []zapcore.Core{zapcore.NewNopCore(), zap.NewExample().Core()} {
				f := newFailures()
				log := zap.New(core, zap.WithFatalHook(f), zap.WithPanicHook(f))
				ended := make(chan bool, 1)
				go func() {
					after := false
					defer func() { ended <- after }()
					say(log)
					after = true
				}()
				if <-ended {
					t.Error("the goroutine went on")
				}
				err := <-f.first
				for _, part := range []string{"failed to commit", "/db", "no space left on device"} {
					if !strings.Contains(err.Error(), part) {
						t.Errorf("%q is missing in: %v", part, err)
					}
				}
			}
		})
	}
}
