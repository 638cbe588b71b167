package doctor

// The lines of the doctor's, and how they are printed.

import (
	"fmt"
	"io"

	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
)

// verdict is how bad it is.
type verdict string

const (
	verdictOK   verdict = "ok"
	verdictWarn verdict = "warn"
	verdictFail verdict = "fail"
)

// check is one line of the doctor's.
type check struct {
	Name   string  `json:"name"`
	Status verdict `json:"status"`
	Found  string  `json:"found"`
	Do     string  `json:"do,omitempty"`
}

// diagnosis is all of them, in the order they were made.
type diagnosis struct{ checks []check }

func (d *diagnosis) add(c check) { d.checks = append(d.checks, c) }

func (d *diagnosis) healthy() bool {
	for _, c := range d.checks {
		if c.Status == verdictFail {
			return false
		}
	}
	return true
}

func (d *diagnosis) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return cli.PrintJSON(w, struct {
			OK     bool    `json:"ok"`
			Checks []check `json:"checks"`
		}{d.healthy(), d.checks})
	}
	for _, c := range d.checks {
		line := fmt.Sprintf("%-4s  %s: %s", c.Status, c.Name, c.Found)
		if c.Do != "" {
			line += "; " + c.Do
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
