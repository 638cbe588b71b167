package address

// URLs whose links stay in this machine: unix sockets, and the memory of a process.

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"runtime"
	"strconv"
	"strings"
)

// The transports that stay in this machine.
const (
	// IPC is a unix socket:
	//
	//	ipc:///path[?mode=octal][&owner=user][&group=group][&advertise=/path]
	//
	// for example ipc:///run/orders.sock?mode=0660&group=orders. In a path, what a URL
	// gives a meaning to is written as %20.
	IPC = "ipc"
	// InProc is the memory of one process: inproc://name, with letters, digits, dots,
	// dashes and underscores.
	InProc = "inproc"
)

// DefaultMode is the mode of a unix socket whose URL names none: only its user may
// connect.
const DefaultMode = 0o600

func parseIPC(name, rest string) (URL, error) {
	text, query, hasQuery := strings.Cut(rest, "?")
	file, err := parseFile(text)
	if err != nil {
		return URL{}, err
	}
	u := URL{Scheme: name, File: file}
	if hasQuery {
		if err := u.parseSocketQuery(query); err != nil {
			return URL{}, err
		}
	}
	return u, nil
}

func parseFile(text string) (string, error) {
	file, err := url.PathUnescape(text)
	if err == nil {
		if strings.HasPrefix(file, "/") {
			file = path.Clean(file) // without the slashes that mean nothing
		}
		err = checkFile(file)
	}
	if err != nil {
		return "", fmt.Errorf("path %q: %w", text, err)
	}
	return file, nil
}

// longestFile is how many bytes of a path the system takes for a unix socket.
func longestFile() int {
	if runtime.GOOS == "linux" {
		return 107
	}
	return 103
}

func checkFile(file string) error {
	switch {
	case !strings.HasPrefix(file, "/"):
		return errors.New("it is not absolute: an ipc url has three slashes, such as ipc:///run/orders.sock")
	case file != path.Clean(file):
		return fmt.Errorf("it is %q, written shorter", path.Clean(file))
	case file == "/":
		return errors.New("it names no file")
	case strings.Contains(file, "\x00"):
		return errors.New("it has a zero byte")
	case len(file) > longestFile():
		return fmt.Errorf("it has %d bytes, and the system takes %d for a unix socket: use a shorter directory", len(file), longestFile())
	}
	return nil
}

func (u *URL) parseSocketQuery(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return fmt.Errorf("query %q: %w", query, err)
	}
	if len(values) == 0 {
		return errors.New("query: it is empty")
	}
	for name, v := range values {
		if len(v) != 1 {
			return fmt.Errorf("query: %s is given twice", name)
		}
		if v[0] == "" {
			return fmt.Errorf("query: %s is empty", name)
		}
		switch name {
		case "mode":
			mode, err := strconv.ParseUint(v[0], 8, 32)
			if err != nil {
				return fmt.Errorf("query: mode %q is not an octal number such as 0660", v[0])
			}
			if err := checkMode(uint32(mode)); err != nil {
				return fmt.Errorf("query: %w", err)
			}
			u.Mode = uint32(mode)
		case "owner":
			u.Owner = v[0]
		case "group":
			u.Group = v[0]
		case "advertise":
			if u.Advertise, err = parseFile(v[0]); err != nil {
				return fmt.Errorf("query: advertise: %w", err)
			}
		default:
			return fmt.Errorf("query: option %q is not one of advertise, group, mode, owner", name)
		}
	}
	return checkIPC(*u)
}

func checkMode(mode uint32) error {
	if mode == 0 || mode > 0o777 {
		return fmt.Errorf("mode %04o is not between 0001 and 0777", mode)
	}
	return nil
}

func checkAccount(what, name string) error {
	strange := func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && r != '@' && r != '$' && (r < '0' || r > '9') && (r|0x20 < 'a' || r|0x20 > 'z')
	}
	if len(name) > 64 || strings.ContainsFunc(name, strange) {
		return fmt.Errorf("%s %q is neither a name nor a number", what, name)
	}
	return nil
}

func checkIPC(u URL) error {
	faults := []error{checkAccount("owner", u.Owner), checkAccount("group", u.Group)}
	if err := checkFile(u.File); err != nil {
		faults = append(faults, fmt.Errorf("path %q: %w", u.File, err))
	}
	if u.Mode != 0 {
		faults = append(faults, checkMode(u.Mode))
	}
	if u.Advertise != "" {
		if err := checkFile(u.Advertise); err != nil {
			faults = append(faults, fmt.Errorf("advertise %q: %w", u.Advertise, err))
		}
	}
	return errors.Join(faults...)
}

func fileText(file string) string { return (&url.URL{Path: file}).EscapedPath() }

func ipcText(u URL) string {
	var options []string
	add := func(name, value string) {
		if value != "" {
			options = append(options, name+"="+url.QueryEscape(value))
		}
	}
	if u.Mode != 0 {
		add("mode", fmt.Sprintf("%04o", u.Mode))
	}
	add("owner", u.Owner)
	add("group", u.Group)
	if u.Advertise != "" {
		add("advertise", fileText(u.Advertise))
	}
	text := fileText(u.File)
	if len(options) > 0 {
		text += "?" + strings.Join(options, "&")
	}
	return text
}

func dialIPC(u URL) (string, error) {
	if u.Mode != 0 || u.Owner != "" || u.Group != "" || u.Advertise != "" {
		return "", errors.New("mode, owner, group and advertise are for listeners")
	}
	return u.File, nil
}

func parseInProc(name, rest string) (URL, error) {
	u := URL{Scheme: name, Host: rest}
	if err := checkInProc(u); err != nil {
		return URL{}, err
	}
	return u, nil
}

func checkInProc(u URL) error {
	if u.Host == "" {
		return errors.New("it has no name: use one such as inproc://orders")
	}
	if len(u.Host) > 253 {
		return errors.New("name is longer than 253 characters")
	}
	for i := range len(u.Host) {
		c := u.Host[i]
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return fmt.Errorf("name %q: %q cannot be in a name", u.Host, c)
		}
	}
	return nil
}

func inProcText(u URL) string { return u.Host }

func dialInProc(u URL) (string, error) { return u.Host, nil }

// advertisedHere is the URL that others in this machine dial.
func (u URL) advertisedHere() string {
	to := URL{Scheme: u.Scheme, Host: u.Host, File: u.File}
	switch {
	case u.Advertise != "" && u.Scheme == InProc:
		to.Host = u.Advertise
	case u.Advertise != "":
		to.File = u.Advertise
	}
	return to.String()
}
