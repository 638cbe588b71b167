package tables

// The settings of a table.

import (
	"cmp"
	"time"

	"github.com/penstock-io/penstock/actors/internal/node"
)

const (
	// DefaultMaxBytes is Config's.
	DefaultMaxBytes = 256 << 20
	// LeastMaxBytes is the least that MaxBytes can be.
	LeastMaxBytes = 1 << 20
)

// Config is how a table is kept. The zero value is good.
type Config struct {
	// Prefix is penstock.KeyPrefix.
	Prefix string
	// MaxBytes is penstock.MaxTableBytes. Default DefaultMaxBytes.
	MaxBytes int64
	// Idle, unless it is 0, is after how long the table ends that nobody uses.
	Idle time.Duration
}

// EnsureDefaults fills what is zero.
func (c *Config) EnsureDefaults() { c.MaxBytes = cmp.Or(c.MaxBytes, DefaultMaxBytes) }

// Validate returns every fault of c, joined; each wraps messages.ErrInvalid.
func (c *Config) Validate() error {
	var faults node.Faults
	if c.MaxBytes < LeastMaxBytes {
		faults.Add("a table of at most %d bytes: it must be allowed %d or more", c.MaxBytes, LeastMaxBytes)
	}
	if c.Idle < 0 {
		faults.Add("idle for %v: it cannot be negative", c.Idle)
	}
	return faults.Err()
}
