package harness

// How a package of fault tests runs, and the processes that it starts.

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-io/penstock/penstocktest/internal/server"
)

// Etcd is the etcd that the tests of a package share. Main starts it; it is nil
// in a child.
var Etcd server.Server

// Main is a package's TestMain: it starts Etcd, runs the tests, fails when they
// passed and left a goroutine, and ends the process.
func Main(m *testing.M) {
	ownNetworkBegins()
	var err error
	if Etcd, err = server.Start(context.Background(), "", ""); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = Etcd.Close() // how the server ends is not what is tested
	if code == 0 {
		if err := left(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// left returns which goroutines are left. A runtime that was given up may be ending yet,
// which an etcd that is gone holds up.
func left() (err error) {
	for until := time.Now().Add(endsWithin); ; {
		if err = goleak.Find(); err == nil || time.Now().After(until) {
			return err
		}
	}
}

// endsWithin is how long what was given up may take to end.
const endsWithin = 20 * time.Second

// RunAsChild makes this process a child of a test, where env is set: it runs
// what the JSON in env says, and ends the process. Otherwise it returns at once.
// A TestMain calls it before Main, for a test to start its own binary with env.
func RunAsChild[Spec any](env string, run func(Spec) error) {
	text := os.Getenv(env)
	if text == "" {
		return
	}
	var spec Spec
	err := json.Unmarshal([]byte(text), &spec)
	if err == nil {
		err = run(spec)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "child %s: %v\n", text, err)
		os.Exit(1)
	}
	os.Exit(0)
}
