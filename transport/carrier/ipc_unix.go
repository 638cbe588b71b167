//go:build unix

package carrier

// Unix sockets.
//
// The file is bound, given its mode and owner, and only then listened at: nobody can
// connect before it is whose it should be. Beside it lies a lock, which the system lets
// go when the process ends in whatever way: who holds the lock may remove the socket that
// a dead process has left, and two that start at once cannot remove each other's.

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/transport/address"
)

// backlog is how many connections may wait to be accepted, where the system allows it.
const backlog = 4096

func listenIPC(ctx context.Context, u address.URL, _ *TLS) (net.Listener, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("listen on %s: %w", u, context.Cause(ctx))
	}
	ln, err := openIPC(u)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", u, err)
	}
	return ln, nil
}

// openIPC takes the lock and binds the socket.
func openIPC(u address.URL) (*ipcListener, error) {
	uid, gid, err := accounts(u)
	if err != nil {
		return nil, err
	}
	l := &ipcListener{url: u, uid: uid, gid: gid, at: &net.UnixAddr{Name: u.File, Net: "unix"}}
	if l.lock, err = lockIPC(u.File); err != nil {
		return nil, err
	}
	if err := l.bind(); err != nil {
		l.unlock()
		return nil, err
	}
	return l, nil
}

// lockOf is the lock of a socket.
func lockOf(path string) string { return path + ".lock" }

// lockIPC takes the lock of a socket, or says that somebody has it.
func lockIPC(path string) (*os.File, error) {
	name := lockOf(path)
	for {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600) //nolint:gosec // the path is the operator's
		if err != nil {
			return nil, explain(err, filepath.Dir(path))
		}
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			_ = f.Close()
			if errors.Is(err, unix.EWOULDBLOCK) {
				return nil, fmt.Errorf("%w: another listener of Penstock has it", messages.ErrAddrInUse)
			}
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
		// Who had it may have removed it meanwhile: then it locks nothing.
		mine, err := f.Stat()
		now, serr := os.Lstat(name)
		if err == nil && serr == nil && os.SameFile(mine, now) {
			return f, nil
		}
		_ = f.Close()
		if err = errors.Join(err, serr); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("lock %s: %w", name, err)
		}
	}
}

// explain says what to do about an error of the directory of a socket.
func explain(err error, dir string) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%w: make the directory %s first", err, dir)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w: this process, of user %d, has to have the right to write into %s, and to what is there of an earlier process", err, os.Geteuid(), dir)
	}
	return err
}

// ipcListener accepts at a unix socket.
type ipcListener struct {
	url      address.URL
	uid, gid int
	at       *net.UnixAddr
	lock     *os.File

	mu sync.Mutex
	ln *net.UnixListener
	// file is the socket's, as it was bound.
	file   fs.FileInfo
	closed bool
}

// bind makes the socket. The caller has the lock, and holds mu if others know l.
func (l *ipcListener) bind() error {
	if err := makeRoom(l.url.File); err != nil {
		return err
	}
	fd, err := unixSocket()
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	f := os.NewFile(uintptr(fd), l.url.File)
	defer f.Close() // the listener has a descriptor of its own
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: l.url.File}); err != nil {
		if errors.Is(err, unix.EADDRINUSE) {
			return fmt.Errorf("%w: somebody else has just bound it", messages.ErrAddrInUse)
		}
		return explain(os.NewSyscallError("bind", err), filepath.Dir(l.url.File))
	}
	file, err := os.Lstat(l.url.File)
	if err == nil {
		err = l.dress()
	}
	if err == nil {
		err = os.NewSyscallError("listen", unix.Listen(fd, backlog))
	}
	var ln net.Listener
	if err == nil {
		ln, err = net.FileListener(f)
	}
	if err != nil {
		_ = os.Remove(l.url.File)
		return err
	}
	l.ln, l.file = ln.(*net.UnixListener), file //nolint:forcetypeassert // of a unix socket there is no other
	return nil
}

// unixSocket makes a socket that programs which this process starts do not inherit.
func unixSocket() (int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fd)
		err = unix.SetNonblock(fd, true)
		if err != nil {
			_ = unix.Close(fd)
		}
	}
	return fd, err
}

// dress gives the file its mode and owner. Nobody can connect yet.
func (l *ipcListener) dress() error {
	mode := l.url.Mode
	if mode == 0 {
		mode = address.DefaultMode
	}
	if err := os.Chmod(l.url.File, fs.FileMode(mode)); err != nil {
		return err
	}
	if l.uid < 0 && l.gid < 0 {
		return nil
	}
	if err := os.Lchown(l.url.File, l.uid, l.gid); err != nil {
		return fmt.Errorf("%w: only root may give a socket to another user, and others only to a group that they are in", err)
	}
	return nil
}

// accounts are the numbers of a URL's owner and group; -1 where it names none.
func accounts(u address.URL) (uid, gid int, err error) {
	uid, gid = -1, -1
	var faults []error
	if u.Owner != "" {
		uid, err = account(u.Owner, func(name string) (string, error) {
			who, err := user.Lookup(name)
			if err != nil {
				return "", err
			}
			return who.Uid, nil
		})
		if err != nil {
			faults = append(faults, fmt.Errorf("owner %q: %w: %w", u.Owner, messages.ErrInvalid, err))
		}
	}
	if u.Group != "" {
		gid, err = account(u.Group, func(name string) (string, error) {
			who, err := user.LookupGroup(name)
			if err != nil {
				return "", err
			}
			return who.Gid, nil
		})
		if err != nil {
			faults = append(faults, fmt.Errorf("group %q: %w: %w", u.Group, messages.ErrInvalid, err))
		}
	}
	return uid, gid, errors.Join(faults...)
}

func account(name string, lookup func(string) (string, error)) (int, error) {
	if n, err := strconv.ParseUint(name, 10, 31); err == nil {
		return int(n), nil
	}
	id, err := lookup(name)
	if err != nil {
		return -1, err
	}
	return strconv.Atoi(id)
}

// makeRoom removes the socket that a dead process has left, and nothing else. The caller
// has the lock.
func makeRoom(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return explain(err, filepath.Dir(path))
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%w: the file there is no socket, and is not removed", messages.ErrAddrInUse)
	}
	// Whoever has no lock is asked: another program may listen there.
	c, err := net.Dial("unix", path)
	switch {
	case err == nil:
		_ = c.Close()
		return fmt.Errorf("%w: another program listens there", messages.ErrAddrInUse)
	case errors.Is(err, unix.EACCES):
		return fmt.Errorf("%w: the socket there is of somebody else, and may be in use: %w", messages.ErrAddrInUse, err)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case !errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("%w: the socket there cannot be asked whether it is in use: %w", messages.ErrAddrInUse, err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove what a dead process has left: %w", explain(err, filepath.Dir(path)))
	}
	return nil
}

// Accept is net.Listener's.
func (l *ipcListener) Accept() (net.Conn, error) {
	for {
		l.mu.Lock()
		ln := l.ln
		l.mu.Unlock()
		c, err := ln.AcceptUnix()
		if err == nil {
			widen(c)
			return &ipcConn{UnixConn: c, remote: peerOf(c)}, nil
		}
		if !l.replaced(ln) {
			return nil, err
		}
	}
}

// replaced reports whether there is another socket to accept at now.
func (l *ipcListener) replaced(ln *net.UnixListener) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return !l.closed && l.ln != ln
}

// Refresh is Refresher's.
func (l *ipcListener) Refresh() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	now, err := os.Lstat(l.url.File)
	switch {
	case err == nil && os.SameFile(now, l.file):
		return nil
	case err == nil:
		return fmt.Errorf("%s: somebody else has put a file in the place of the socket: members cannot dial it", l.url)
	case !errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: %w", l.url, err)
	}
	old := l.ln
	if err := l.bind(); err != nil {
		return fmt.Errorf("%s: somebody has deleted the socket, and it cannot be made again: %w", l.url, err)
	}
	_ = old.Close()
	return nil
}

// Close is net.Listener's. The file goes, unless somebody has replaced it.
func (l *ipcListener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	if now, err := os.Lstat(l.url.File); err == nil && os.SameFile(now, l.file) {
		_ = os.Remove(l.url.File) // what stays is removed by the next listener
	}
	err := l.ln.Close()
	l.unlock()
	return err
}

// unlock gives the lock up. It is removed while it is held, so that nobody gets a lock
// that others do not see.
func (l *ipcListener) unlock() {
	_ = os.Remove(l.lock.Name())
	_ = l.lock.Close()
}

// Addr is net.Listener's.
func (l *ipcListener) Addr() net.Addr { return l.at }

func dialIPC(ctx context.Context, _ address.URL, at string, _ Target) (net.Conn, error) {
	c, err := (&net.Dialer{}).DialContext(ctx, "unix", at)
	switch {
	case err == nil:
		widen(c)
		return c, nil
	case errors.Is(err, unix.EAGAIN):
		return nil, fmt.Errorf("%w: more connections wait there than the system keeps", err)
	case errors.Is(err, unix.ECONNREFUSED):
		if info, lerr := os.Stat(at); lerr == nil && info.Mode().Type() != fs.ModeSocket {
			return nil, fmt.Errorf("%w: the file there is no socket", err)
		}
		return nil, fmt.Errorf("%w: the process that listened there has ended", err)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("%w: this process, of user %d, may not write to that socket: see mode and group of the sender's URL", err, os.Geteuid())
	}
	return c, err
}

// socketBuffer is what the system may hold of what is sent. A unix socket begins with room
// for less than one large frame, and never gets more by itself, as one of tcp does.
const socketBuffer = 1 << 20

// widen asks for that. The system gives what its limits allow.
func widen(c net.Conn) {
	if u, ok := c.(*net.UnixConn); ok {
		_ = u.SetWriteBuffer(socketBuffer)
	}
}

// ipcConn is an accepted connection. What dials has no address, and so the process is
// named where the system knows it.
type ipcConn struct {
	*net.UnixConn
	remote net.Addr
}

// RemoteAddr is net.Conn's.
func (c *ipcConn) RemoteAddr() net.Addr { return c.remote }
