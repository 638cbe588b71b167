package cli

// What every command has: its streams, its flags, and the ways to say something.

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"golang.org/x/term"
)

// App is what every command has: one command line. Its fields are set before a
// command runs, most of them by flags; Say and Complain may be called from any
// goroutine if Err may.
type App struct {
	In       io.Reader
	Out, Err io.Writer
	env      func(string) string
	Verbose  int // how often --verbose was given
	Etcd     EtcdFlags
}

// New returns what the commands of one command line share; env looks up a
// variable of the environment.
func New(in io.Reader, out, errs io.Writer, env func(string) string) *App {
	return &App{In: in, Out: out, Err: errs, env: env}
}

// Say writes a line to standard error.
func (a *App) Say(format string, args ...any) { fmt.Fprintf(a.Err, format+"\n", args...) }

// Complain says what went wrong.
func (a *App) Complain(err error) { a.Say("penstock: %v", err) }

// Said complains now, for a command that has a last line to print after it. The
// error that it returns decides the exit code and is not printed again.
func (a *App) Said(err error) error {
	if err == nil {
		return nil
	}
	a.Complain(err)
	return &saidError{err}
}

// Logger returns nil unless --verbose was given.
func (a *App) Logger() *slog.Logger {
	if a.Verbose == 0 {
		return nil
	}
	level := slog.LevelInfo
	if a.Verbose > 1 {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.Err, &slog.HandlerOptions{Level: level}))
}

// askPassword reads a password from the terminal, without an echo.
func (a *App) askPassword(user string) (string, error) {
	f, ok := a.In.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", Usagef("etcd's user %s needs a password: set ETCDCTL_PASSWORD, or give user:password", user)
	}
	fmt.Fprintf(a.Err, "password of %s: ", user)
	password, err := term.ReadPassword(int(f.Fd()))
	fmt.Fprintln(a.Err)
	if err != nil {
		return "", fmt.Errorf("read the password: %w", err)
	}
	return string(password), nil
}

// Open opens a file to be read; "-" is standard input.
func (a *App) Open(file string) (io.ReadCloser, error) {
	if file == "-" {
		return io.NopCloser(a.In), nil
	}
	return os.Open(file)
}
