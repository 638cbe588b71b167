//go:build !unix

package harness

import "time"

// CPU is the processor time that this process has used, 0 where the system
// does not say.
func CPU() time.Duration { return 0 }
