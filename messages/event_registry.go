package messages

import (
	"log/slog"
	"time"
)

// RegistrationTroubled: etcd refuses to have a key of this runtime put right. It is
// told once, until the key is as it should be, and tried again meanwhile.
type RegistrationTroubled struct {
	Key string
	Err error
}

// RegistryDelayed: the keys of this runtime cannot be looked after at the moment;
// it is tried again.
type RegistryDelayed struct {
	Err error
}

// RegistrationAwaited: a fixed sender or member id, or the destination of a sole
// sender, is held by another process. It is waited for, until its lease ends or shows that it lives.
type RegistrationAwaited struct {
	Key string
	// Holder says who it is, for people.
	Holder string
	// Left is how long its lease stands at most, if it is not renewed.
	Left time.Duration
}

func (RegistrationAwaited) event() {}

// Name implements Event.
func (RegistrationAwaited) Name() string { return "registration_awaited" }

// Level implements Event.
func (RegistrationAwaited) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e RegistrationAwaited) Attrs() []slog.Attr {
	return []slog.Attr{slog.String("key", e.Key), slog.String("holder", e.Holder), ms("left", e.Left)}
}

func (RegistrationTroubled) event() {}

// Name implements Event.
func (RegistrationTroubled) Name() string { return "registration_troubled" }

// Level implements Event.
func (RegistrationTroubled) Level() slog.Level { return slog.LevelError }

// Attrs implements Event.
func (e RegistrationTroubled) Attrs() []slog.Attr {
	return present(slog.String("key", e.Key), errAttr("err", e.Err))
}

func (RegistryDelayed) event() {}

// Name implements Event.
func (RegistryDelayed) Name() string { return "registry_delayed" }

// Level implements Event.
func (RegistryDelayed) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e RegistryDelayed) Attrs() []slog.Attr { return present(errAttr("err", e.Err)) }
