package actors_test

// What the user's logger hears of the end.

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/actors/internal/enginetest"
)

// Promise: the last line of the logger is that the runtime has stopped, once, before Stop
// returns and before Done is closed, whoever ended the runtime.
func TestLoggerHearsOfTheEnd(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *actors.Engine){
		"by Stop": func(t *testing.T, e *actors.Engine) {
			if err := e.Stop(enginetest.Within(t)); err != nil {
				t.Error(err)
			}
		},
		"from outside": func(t *testing.T, e *actors.Engine) {
			e.System().Root.Stop(e.System().NewLocalPID(enginetest.ActorsOf(e, enginetest.Root)[0].ID))
			enginetest.Await(t, "the end", e.Done())
		},
	} {
		t.Run(name, func(t *testing.T) {
			log := &lines{}
			e := enginetest.NewSpace(t).Start(t, func(c *actors.Config) {
				c.Logger = slog.New(slog.NewTextHandler(log, nil))
			})
			enginetest.Crash(e, "session")
			end(t, e)
			got := strings.Split(strings.TrimSpace(log.String()), "\n")
			if last := got[len(got)-1]; !strings.Contains(last, "runtime_stopped") {
				t.Errorf("the last of %d lines is %s", len(got), last)
			}
			if n := strings.Count(log.String(), "runtime_stopped"); n != 1 {
				t.Errorf("it is said %d times", n)
			}
		})
	}
}
