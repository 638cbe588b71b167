package members

// The settings of a member. Validate names every fault at once.

import (
	"cmp"
	"time"

	"github.com/penstock-io/penstock/actors/internal/chain"
	"github.com/penstock-io/penstock/actors/internal/node"
	"github.com/penstock-io/penstock/actors/pipes/internal/recvq"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/messages/keys"
	"github.com/penstock-io/penstock/transport/frame"
)

// Defaults of a member.
const (
	DefaultWindow      = 4096
	DefaultWindowBytes = 8 << 20
	DefaultAckWait     = frame.DefaultAckWait // 30 s

	DefaultPlainMessage = 4 << 20
	LargestPlainMessage = frame.LargestMessage // 64 MiB
)

// Config describes a member of a group. Its fields are the options of
// penstock.Runtime.Join.
type Config struct {
	// Destination and Group to join. Required.
	Destination, Group string
	// ID is penstock.MemberID. Default: a random one.
	ID string
	// Mode and Policy are penstock.InMode and penstock.OnFull. Defaults
	// AtLeastOnce and QueueBlock.
	Mode   messages.Mode
	Policy messages.QueuePolicy
	// KeepFor is penstock.KeepFor: at least 1 s, or Forever. Default
	// messages.DefaultKeepFor.
	KeepFor time.Duration
	// Window is penstock.Window: 1 to messages.LargestWindow. Default DefaultWindow.
	Window int
	// WindowBytes is penstock.WindowBytes. Default DefaultWindowBytes.
	WindowBytes int
	// Concurrency is penstock.Concurrency: 1 to messages.LargestConcurrency. Default 1.
	Concurrency int
	// ReuseBuffers is penstock.ReuseBuffers.
	ReuseBuffers bool
	// AckWait is penstock.AckWait: at least 100 ms, or -1 for no limit. Default
	// DefaultAckWait.
	AckWait time.Duration
	// PlainURLs are penstock.PlainURL. PlainMaxMessage is penstock.PlainMaxMessage, in
	// bytes: 1 to LargestPlainMessage. Default DefaultPlainMessage.
	PlainURLs       []string
	PlainMaxMessage int
	// Lends: it is a member of a destination of keys.Loans, which the runtime uses itself.
	Lends bool
	// Use is penstock.Use.
	Use []func(next messages.Handler) messages.Handler
}

// EnsureDefaults fills what is zero.
func (c *Config) EnsureDefaults() {
	c.Mode = cmp.Or(c.Mode, messages.AtLeastOnce)
	c.Policy = cmp.Or(c.Policy, messages.QueueBlock)
	c.KeepFor = cmp.Or(c.KeepFor, messages.DefaultKeepFor)
	c.Window = cmp.Or(c.Window, DefaultWindow)
	c.WindowBytes = cmp.Or(c.WindowBytes, DefaultWindowBytes)
	c.Concurrency = cmp.Or(c.Concurrency, 1)
	c.PlainMaxMessage = cmp.Or(c.PlainMaxMessage, DefaultPlainMessage)
	c.AckWait = cmp.Or(c.AckWait, DefaultAckWait)
}

// queue is what the data path needs of it.
func (c *Config) queue() recvq.Config {
	return recvq.Config{
		Destination: c.Destination, Group: c.Group, ID: c.ID, Mode: c.Mode,
		Window: c.Window, WindowBytes: c.WindowBytes, AckWait: c.AckWait, Lent: c.Lends, Concurrency: c.Concurrency,
	}
}

// lentSweepEvery is how often what is lent is looked at: it is soon given back when others
// could begin it before.
const lentSweepEvery = 50 * time.Millisecond

// sweepEvery is how often a link looks for deliveries that outlived AckWait.
func (c *Config) sweepEvery() time.Duration {
	if c.Lends {
		return lentSweepEvery
	}
	if c.AckWait > 0 {
		return min(time.Second, c.AckWait/4)
	}
	return time.Second
}

// Validate returns every fault of c, joined; each wraps messages.ErrInvalid.
func (c *Config) Validate() error {
	var faults node.Faults
	faults.Join(keys.ValidateDestination(c.Destination, c.Lends))
	faults.Join(keys.ValidateName("group", c.Group))
	if c.ID != "" {
		faults.Join(keys.ValidateName("member", c.ID))
	}
	if !c.Mode.Known() {
		faults.Add("mode %q: there are %q", c.Mode, messages.Modes)
	}
	if !c.Policy.Known() {
		faults.Add("queue policy %q: there are %q, %q and %q", c.Policy, messages.QueueBlock, messages.QueueDropOldest, messages.QueueError)
	}
	if c.KeepFor < time.Second && c.KeepFor != messages.Forever {
		faults.Add("keep for %s: it must be at least 1s, or Forever", c.KeepFor)
	}
	if c.Window < 1 || c.Window > messages.LargestWindow {
		faults.Add("window of %d messages: it must be between 1 and %d", c.Window, messages.LargestWindow)
	}
	if c.WindowBytes < 1 {
		faults.Add("window of %d bytes: it must be positive", c.WindowBytes)
	}
	if c.Concurrency < 1 || c.Concurrency > messages.LargestConcurrency {
		faults.Add("concurrency %d: it must be between 1 and %d", c.Concurrency, messages.LargestConcurrency)
	}
	if c.AckWait < 100*time.Millisecond && c.AckWait != -1 {
		faults.Add("ack wait %s: it must be at least 100ms, or -1 for no limit", c.AckWait)
	}
	c.checkPlain(&faults)
	faults.Join(chain.Check(c.Use))
	return faults.Err()
}

func (c *Config) group() messages.GroupSettings {
	return messages.GroupSettings{Mode: c.Mode, Policy: c.Policy, KeepFor: c.KeepFor}
}
