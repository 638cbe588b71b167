package cli

import (
	"errors"
	"testing"
)

// Flags that cannot work together are refused in the words of the command line.
func TestLinkFlags(t *testing.T) {
	for name, c := range map[string]struct {
		f       LinkFlags
		options int
		wrong   bool
	}{
		"none":               {f: LinkFlags{}},
		"all":                {f: LinkFlags{ca: "ca", cert: "cert", key: "key", require: true}, options: 2},
		"authority only":     {f: LinkFlags{ca: "ca"}, options: 1},
		"no key":             {f: LinkFlags{ca: "ca", cert: "cert"}, wrong: true},
		"no certificate":     {f: LinkFlags{ca: "ca", key: "key"}, wrong: true},
		"required, no files": {f: LinkFlags{require: true}, wrong: true},
	} {
		err := c.f.Check()
		if (err != nil) != c.wrong || c.wrong && !errors.As(err, new(*usageError)) {
			t.Errorf("%s: %v", name, err)
		}
		if n := len(c.f.Options()); !c.wrong && n != c.options {
			t.Errorf("%s: %d options", name, n)
		}
	}
}
