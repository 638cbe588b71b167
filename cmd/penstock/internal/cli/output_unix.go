//go:build unix

package cli

// What the descriptor of an output says of it.

import (
	"os"

	"golang.org/x/sys/unix"
)

// outputFault says what is wrong with an output, or nothing.
func outputFault(f *os.File) (fault string) {
	conn, err := f.SyscallConn()
	if err != nil {
		return "is closed"
	}
	err = conn.Control(func(fd uintptr) { fault = descriptorFault(int(fd)) })
	if err != nil {
		return "is closed"
	}
	return fault
}

func descriptorFault(fd int) string {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return "is closed"
	}
	switch flags & unix.O_ACCMODE {
	case unix.O_RDONLY:
		return "is open for reading only"
	case unix.O_RDWR:
		// Go opens /dev/null in this way in place of a descriptor that is
		// closed when a program starts; shells open it for writing only.
		if isNull(fd) {
			return "is closed, or /dev/null open for reading too; to throw away what comes use > /dev/null"
		}
	}
	return ""
}

// isNull reports whether a descriptor is the null device.
func isNull(fd int) bool {
	var null, st unix.Stat_t
	return unix.Stat(os.DevNull, &null) == nil && unix.Fstat(fd, &st) == nil &&
		st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == null.Rdev
}
