//go:build !unix

package cli

// Where descriptors say nothing.

import "os"

// outputFault says what is wrong with an output. A write says it here.
func outputFault(*os.File) string { return "" }
