//go:build unix

package carrier

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/address"
)

// socketDir is a directory whose name is short enough for a unix socket.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ipc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func listenAt(t *testing.T, text string) (net.Listener, error) {
	t.Helper()
	u, err := address.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return listenIPC(t.Context(), u, nil)
}

func mustListenAt(t *testing.T, text string) *ipcListener {
	t.Helper()
	ln, err := listenAt(t, text)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	return ln.(*ipcListener)
}

// abandon leaves what a killed process leaves.
func abandon(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false)
	if err := errors.Join(ln.Close(), os.WriteFile(lockOf(path), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
}

// reach dials and says what the other side is told of who dials.
func reach(t *testing.T, ln net.Listener, path string) (remote string) {
	t.Helper()
	c, err := dialIPC(t.Context(), address.URL{}, path, Target{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(in, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return in.RemoteAddr().String()
}

// Promise: the file has the mode that the URL says before anybody can connect, and goes
// with the listener.
func TestIPCFile(t *testing.T) {
	path := filepath.Join(socketDir(t), "a b")
	for query, mode := range map[string]fs.FileMode{"": 0o600, "?mode=0666": 0o666, "?mode=0660&owner=" + uidText() + "&group=" + gidText(): 0o660} {
		ln := mustListenAt(t, "ipc://"+strings.ReplaceAll(path, " ", "%20")+query)
		info, err := os.Lstat(path)
		if err != nil || info.Mode().Perm() != mode || info.Mode().Type() != fs.ModeSocket {
			t.Errorf("%q: %v, %v, want mode %v", query, info, err, mode)
		}
		if who := reach(t, ln, path); !strings.Contains(who, "process") {
			t.Errorf("who dials is %q", who)
		}
		if ln.Addr().String() != path {
			t.Errorf("it is at %s", ln.Addr())
		}
		_ = ln.Close()
		_ = ln.Close()
		if left, _ := os.ReadDir(filepath.Dir(path)); len(left) > 0 {
			t.Errorf("Close leaves %v", left)
		}
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after Close: %v", err)
		}
	}
}

// Promise: what a dead process has left is no obstacle, and nothing else is removed.
func TestIPCTakesOver(t *testing.T) {
	dir := socketDir(t)
	stale := filepath.Join(dir, "stale")
	abandon(t, stale)
	_ = reach(t, mustListenAt(t, "ipc://"+stale), stale)

	live := filepath.Join(dir, "live")
	other, err := net.Listen("unix", live) // some program without a lock
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	file, folder := filepath.Join(dir, "file"), filepath.Join(dir, "folder")
	if err := errors.Join(os.WriteFile(file, []byte("x"), 0o600), os.Mkdir(folder, 0o700), os.Symlink(live, filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	ours := filepath.Join(dir, "ours")
	mustListenAt(t, "ipc://"+ours)
	for name, says := range map[string]string{"live": "another program listens", "file": "is no socket", "folder": "is no socket", "link": "is no socket", "ours": "another listener of Penstock"} {
		before, _ := os.Lstat(filepath.Join(dir, name))
		_, err := listenAt(t, "ipc://"+filepath.Join(dir, name))
		if !errors.Is(err, messages.ErrAddrInUse) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want ErrAddrInUse: %s", name, err, says)
		}
		if after, err := os.Lstat(filepath.Join(dir, name)); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s was removed", name)
		}
	}
	if _, err := listenAt(t, "ipc://"+dir+"/nowhere/x"); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "make the directory") {
		t.Errorf("no directory: %v", err)
	}
	if _, err := listenAt(t, "ipc://"+dir+"/x?owner=nobody-of-that-name"); !errors.Is(err, messages.ErrInvalid) || !strings.Contains(err.Error(), "owner") {
		t.Errorf("no such user: %v", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 8 { // stale, ours, their locks, and what was made here
		t.Errorf("there are %v", left)
	}
}

// Promise: of those that start at once, over what a dead process has left, exactly one
// listens, and can be dialled.
func TestIPCStartersRace(t *testing.T) {
	path := filepath.Join(socketDir(t), "x")
	u := address.URL{Scheme: address.IPC, File: path}
	for range 100 {
		abandon(t, path)
		var wg sync.WaitGroup
		won := make(chan net.Listener, 8)
		for range cap(won) {
			wg.Go(func() {
				ln, err := listenIPC(context.Background(), u, nil)
				if err == nil {
					won <- ln
				} else if !errors.Is(err, messages.ErrAddrInUse) {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if len(won) != 1 {
			t.Fatalf("%d listen", len(won))
		}
		ln := <-won
		_ = reach(t, ln, path)
		_ = ln.Close()
	}
}

// Promise: closing and starting at once never leaves a listener without its file or lock.
func TestIPCCloseAgainstStart(t *testing.T) {
	dir := socketDir(t)
	path := filepath.Join(dir, "x")
	u := address.URL{Scheme: address.IPC, File: path}
	for range 50 {
		first := mustListenAt(t, "ipc://"+path)
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			_ = first.Close()
		}()
		var next net.Listener
		for next == nil {
			var err error
			if next, err = listenIPC(context.Background(), u, nil); err != nil && !errors.Is(err, messages.ErrAddrInUse) {
				t.Fatal(err)
			}
		}
		<-closed
		_ = reach(t, next, path)
		if _, err := listenIPC(context.Background(), u, nil); !errors.Is(err, messages.ErrAddrInUse) {
			t.Fatalf("a second one: %v", err)
		}
		_ = next.Close()
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left are %v", left)
	}
}

// Promise: a socket that was deleted under a listener is made again, and one that was
// replaced is left alone, at the end as well.
func TestIPCRefresh(t *testing.T) {
	path := filepath.Join(socketDir(t), "x")
	ln := mustListenAt(t, "ipc://"+path)
	accepted := make(chan net.Conn)
	go func() {
		defer close(accepted)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	for range 3 {
		if err := errors.Join(ln.Refresh(), os.Remove(path)); err != nil {
			t.Fatal(err)
		}
		if _, err := dialIPC(t.Context(), address.URL{}, path, Target{}); !errors.Is(err, fs.ErrNotExist) {
			t.Fatalf("dialled what was deleted: %v", err)
		}
		if err := ln.Refresh(); err != nil {
			t.Fatal(err)
		}
		c, err := dialIPC(t.Context(), address.URL{}, path, Target{})
		if err != nil {
			t.Fatal(err)
		}
		_ = (<-accepted).Close()
		_ = c.Close()
	}
	if err := errors.Join(os.Remove(path), os.WriteFile(path, nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if err := ln.Refresh(); err == nil || !strings.Contains(err.Error(), "in the place") {
		t.Errorf("a replaced socket: %v", err)
	}
	_ = ln.Close()
	if err := ln.Refresh(); err != nil {
		t.Errorf("after Close: %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("what replaced the socket is gone: %v", err)
	}
	<-accepted
}

// Promise: who cannot dial is told why.
func TestIPCDialSays(t *testing.T) {
	dir := socketDir(t)
	abandon(t, dir+"/stale")
	if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, says := range map[string]string{"stale": "has ended", "nothing": "no such file", "file": "is no socket"} {
		if _, err := dialIPC(t.Context(), address.URL{}, dir+"/"+name, Target{}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", name, err, says)
		}
	}
}

func uidText() string { return strconv.Itoa(os.Geteuid()) }
func gidText() string { return strconv.Itoa(os.Getegid()) }
