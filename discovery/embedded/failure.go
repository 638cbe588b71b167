package embedded

// What etcd calls fatal. A program of its own may end by it; a host program may
// not. etcd tells its logger last, so the end is taken there: what went wrong is
// kept for Server.Err, and the goroutine ends without doing another thing, as
// when the program had ended. Others may wait for it without end, so the server is
// of no more use; but it answers nothing that it did not do.

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"syscall"

	"go.uber.org/zap/zapcore"
)

// failures takes etcd's fatal and panicking log lines. The first one counts:
// those after it are its consequences.
type failures struct{ first chan error }

func newFailures() *failures { return &failures{first: make(chan error, 1)} }

// OnWrite is called by zap after such a line was written. It does not return.
func (f *failures) OnWrite(ce *zapcore.CheckedEntry, fields []zapcore.Field) {
	err := failureOf(ce.Entry, fields)
	if ours() {
		panic(err) // the functions that ours looks for recover it
	}
	select {
	case f.first <- err:
	default:
	}
	runtime.Goexit()
}

// failureOf says what a log line does, and wraps the errors in it.
func failureOf(e zapcore.Entry, fields []zapcore.Field) error {
	var causes []error
	var rest []string
	for _, f := range fields {
		if err, ok := f.Interface.(error); ok && f.Type == zapcore.ErrorType {
			causes = append(causes, err)
		}
	}
	for _, a := range attrs(fields) {
		if a.Key != "error" && a.Key != "errorVerbose" {
			rest = append(rest, a.String())
		}
	}
	text := strings.TrimSpace(e.Message)
	if len(rest) > 0 {
		text += " (" + strings.Join(rest, ", ") + ")"
	}
	if len(causes) == 0 {
		return errors.New(text)
	}
	return fmt.Errorf("%s: %w", text, errors.Join(causes...))
}

// ours reports whether this goroutine is in a call of ours that recovers panics:
// the start and the end of a server.
func ours() bool {
	var pcs [64]uintptr
	for skip := 2; ; {
		n := runtime.Callers(skip, pcs[:])
		frames := runtime.CallersFrames(pcs[:n])
		for {
			f, more := frames.Next()
			if strings.HasSuffix(f.Function, "/embedded.startEtcd") || strings.HasSuffix(f.Function, "/embedded.closeEtcd") {
				return true
			}
			if !more {
				break
			}
		}
		if n < len(pcs) {
			return false
		}
		skip += n
	}
}

// remedies are what a person can do about the errors of a disk.
var remedies = []struct {
	errs []syscall.Errno
	do   string // with the directory
}{
	{[]syscall.Errno{syscall.ENOSPC, syscall.EDQUOT}, ": make room on the disk of %s, and start it again"},
	{[]syscall.Errno{syscall.EFBIG}, ": raise the limit on the size of files, and start it again on %s"},
	{[]syscall.Errno{syscall.EROFS, syscall.EIO}, ": look at the disk of %s"},
}

// advice is what a person can do about a failure, to be put behind it; empty
// where nothing is known. Some of etcd's lines hold an error as text only.
func advice(err error, dir string) string {
	for _, r := range remedies {
		for _, e := range r.errs {
			if errors.Is(err, e) || strings.Contains(err.Error(), e.Error()) {
				return fmt.Sprintf(r.do, dir)
			}
		}
	}
	return ""
}
