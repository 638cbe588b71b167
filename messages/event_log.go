package messages

import (
	"log/slog"
	"slices"
	"time"
)

// How each event is spelled in a log line, in the order of event.go.

func (SessionDoubted) event() {}

// Name implements Event.
func (SessionDoubted) Name() string { return "session_doubted" }

// Level implements Event.
func (SessionDoubted) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e SessionDoubted) Attrs() []slog.Attr {
	return present(
		slog.Int64("lease", e.Lease),
		errAttr("err", e.Err),
	)
}

func (SessionLost) event() {}

// Name implements Event.
func (SessionLost) Name() string { return "session_lost" }

// Level implements Event.
func (SessionLost) Level() slog.Level { return slog.LevelError }

// Attrs implements Event.
func (e SessionLost) Attrs() []slog.Attr {
	return []slog.Attr{slog.Int64("lease", e.Lease)}
}

func (SessionRenewed) event() {}

// Name implements Event.
func (SessionRenewed) Name() string { return "session_renewed" }

// Level implements Event.
func (SessionRenewed) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e SessionRenewed) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.Int64("lease", e.Lease),
		slog.Int64("previous", e.Previous),
	}
}

func (RegistrationPutBack) event() {}

// Name implements Event.
func (RegistrationPutBack) Name() string { return "registration_put_back" }

// Level implements Event.
func (RegistrationPutBack) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e RegistrationPutBack) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("key", e.Key),
		slog.String("why", e.Why),
	}
}

func (DestinationRegistered) event() {}

// Name implements Event.
func (DestinationRegistered) Name() string { return "destination_registered" }

// Level implements Event.
func (DestinationRegistered) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e DestinationRegistered) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("sender", e.Sender),
		slog.Any("urls", e.URLs),
		slog.Bool("alone", e.Alone),
	}
}

func (SenderMoved) event() {}

// Name implements Event.
func (SenderMoved) Name() string { return "sender_moved" }

// Level implements Event.
func (SenderMoved) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e SenderMoved) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("sender", e.Sender),
		slog.Any("urls", e.URLs),
		slog.Bool("alone", e.Alone),
	}
}

func (DestinationUnregistered) event() {}

// Name implements Event.
func (DestinationUnregistered) Name() string { return "destination_unregistered" }

// Level implements Event.
func (DestinationUnregistered) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e DestinationUnregistered) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("sender", e.Sender),
	}
}

func (GroupFound) event() {}

// Name implements Event.
func (GroupFound) Name() string { return "group_found" }

// Level implements Event.
func (GroupFound) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e GroupFound) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
	}
}

func (GroupRemoved) event() {}

// Name implements Event.
func (GroupRemoved) Name() string { return "group_removed" }

// Level implements Event: a warning when messages were lost.
func (e GroupRemoved) Level() slog.Level {
	if e.Unsent > 0 {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

// Attrs implements Event.
func (e GroupRemoved) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.Int("unsent", e.Unsent),
		slog.Int64("bytes", e.Bytes),
	}
}

func (MemberLinked) event() {}

// Name implements Event.
func (MemberLinked) Name() string { return "member_linked" }

// Level implements Event.
func (MemberLinked) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e MemberLinked) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.String("sender", e.Sender),
		slog.String("addr", e.Addr),
	}
}

func (MemberUnlinked) event() {}

// Name implements Event.
func (MemberUnlinked) Name() string { return "member_unlinked" }

// Level implements Event.
func (e MemberUnlinked) Level() slog.Level { return levelOf(e.Cause, slog.LevelWarn) }

// Attrs implements Event.
func (e MemberUnlinked) Attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.String("sender", e.Sender),
		slog.String("addr", e.Addr),
		errAttr("cause", e.Cause),
		slog.Int("requeued", e.Requeued),
	)
}

func (SenderLinked) event() {}

// Name implements Event.
func (SenderLinked) Name() string { return "sender_linked" }

// Level implements Event.
func (SenderLinked) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e SenderLinked) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.String("sender", e.Sender),
		slog.String("addr", e.Addr),
	}
}

func (SenderUnlinked) event() {}

// Name implements Event.
func (SenderUnlinked) Name() string { return "sender_unlinked" }

// Level implements Event.
func (e SenderUnlinked) Level() slog.Level { return levelOf(e.Cause, slog.LevelWarn) }

// Attrs implements Event.
func (e SenderUnlinked) Attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.String("sender", e.Sender),
		slog.String("addr", e.Addr),
		errAttr("cause", e.Cause),
		slog.Int("discarded", e.Discarded),
	)
}

func (LeftGroup) event() {}

// Name implements Event.
func (LeftGroup) Name() string { return "left_group" }

// Level implements Event.
func (LeftGroup) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e LeftGroup) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
	}
}

func (ConnectionRefused) event() {}

// Name implements Event.
func (ConnectionRefused) Name() string { return "connection_refused" }

// Level implements Event.
func (ConnectionRefused) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e ConnectionRefused) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("remote", e.Remote),
		slog.String("reason", e.Reason),
		slog.Int("count", times(e.Count)),
	}
}

func (ProtocolViolated) event() {}

// Name implements Event.
func (ProtocolViolated) Name() string { return "protocol_violated" }

// Level implements Event.
func (ProtocolViolated) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e ProtocolViolated) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.String("sender", e.Sender),
		slog.String("addr", e.Addr),
		errAttr("err", e.Err),
	}
}

func (Redelivered) event() {}

// Name implements Event.
func (Redelivered) Name() string { return "redelivered" }

// Level implements Event.
func (Redelivered) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e Redelivered) Attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.Int("count", e.Count),
		errAttr("cause", e.Cause),
	)
}

func (MessageNacked) event() {}

// Name implements Event.
func (MessageNacked) Name() string { return "message_nacked" }

// Level implements Event.
func (MessageNacked) Level() slog.Level { return slog.LevelDebug }

// Attrs implements Event.
func (e MessageNacked) Attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.Uint64("seq", e.Seq),
		slog.Int("attempt", e.Attempt),
		errAttr("err", e.Err),
		ms("delay", e.Delay),
		slog.Int("count", times(e.Count)),
	)
}

func (AckWaitExpired) event() {}

// Name implements Event.
func (AckWaitExpired) Name() string { return "ack_wait_expired" }

// Level implements Event.
func (AckWaitExpired) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e AckWaitExpired) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.Uint64("seq", e.Seq),
		slog.Int("attempt", e.Attempt),
		ms("wait", e.Wait),
		slog.Int("count", times(e.Count)),
	}
}

func (LateAck) event() {}

// Name implements Event.
func (LateAck) Name() string { return "late_ack" }

// Level implements Event.
func (LateAck) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e LateAck) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.Uint64("seq", e.Seq),
		slog.Int("count", times(e.Count)),
	}
}

func (AttemptsExhausted) event() {}

// Name implements Event.
func (AttemptsExhausted) Name() string { return "attempts_exhausted" }

// Level implements Event.
func (AttemptsExhausted) Level() slog.Level { return slog.LevelError }

// Attrs implements Event.
func (e AttemptsExhausted) Attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.Uint64("seq", e.Seq),
		slog.Int("attempt", e.Attempt),
		errAttr("err", e.Err),
		ms("delay", e.Delay),
		slog.Int("count", times(e.Count)),
	)
}

func (DeadLettered) event() {}

// Name implements Event.
func (DeadLettered) Name() string { return "dead_lettered" }

// Level implements Event.
func (DeadLettered) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e DeadLettered) Attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.Uint64("seq", e.Seq),
		slog.Int("attempt", e.Attempt),
		errAttr("err", e.Err),
		slog.Int("count", times(e.Count)),
	)
}

func (MessagesDropped) event() {}

// Name implements Event.
func (MessagesDropped) Name() string { return "messages_dropped" }

// Level implements Event.
func (MessagesDropped) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e MessagesDropped) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.Int("count", e.Count),
		slog.Int64("bytes", e.Bytes),
		slog.String("why", e.Why),
	}
}

func (Abandoned) event() {}

// Name implements Event.
func (Abandoned) Name() string { return "abandoned" }

// Level implements Event.
func (Abandoned) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e Abandoned) Attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.Int("count", e.Count),
		slog.Int64("bytes", e.Bytes),
		errAttr("cause", e.Cause),
	)
}

func (Drained) event() {}

// Name implements Event.
func (Drained) Name() string { return "drained" }

// Level implements Event.
func (Drained) Level() slog.Level { return slog.LevelInfo }

// Attrs implements Event.
func (e Drained) Attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		optional("group", e.Group),
		ms("took", e.Took),
	)
}

func (SendWaiting) event() {}

// Name implements Event.
func (SendWaiting) Name() string { return "send_waiting" }

// Level implements Event.
func (SendWaiting) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e SendWaiting) Attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		optional("group", e.Group),
		slog.Time("since", e.Since),
		slog.String("why", e.Why),
		slog.Int("count", times(e.Count)),
	)
}

func (HandlerPanicked) event() {}

// Name implements Event.
func (HandlerPanicked) Name() string { return "handler_panicked" }

// Level implements Event.
func (HandlerPanicked) Level() slog.Level { return slog.LevelError }

// Attrs implements Event.
func (e HandlerPanicked) Attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("value", e.Value),
		slog.String("stack", e.Stack),
		slog.Int("count", times(e.Count)),
	}
}

func (ActorRestarted) event() {}

// Name implements Event.
func (ActorRestarted) Name() string { return "actor_restarted" }

// Level implements Event.
func (ActorRestarted) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e ActorRestarted) Attrs() []slog.Attr {
	return present(
		slog.String("actor", e.Actor),
		errAttr("err", e.Err),
		slog.Int("attempt", e.Attempt),
		ms("delay", e.Delay),
	)
}

func (ActorStopped) event() {}

// Name implements Event.
func (ActorStopped) Name() string { return "actor_stopped" }

// Level implements Event.
func (e ActorStopped) Level() slog.Level { return levelOf(e.Err, slog.LevelError) }

// Attrs implements Event.
func (e ActorStopped) Attrs() []slog.Attr {
	return present(
		slog.String("actor", e.Actor),
		errAttr("err", e.Err),
	)
}

func (EventsLost) event() {}

// Name implements Event.
func (EventsLost) Name() string { return "events_lost" }

// Level implements Event.
func (EventsLost) Level() slog.Level { return slog.LevelWarn }

// Attrs implements Event.
func (e EventsLost) Attrs() []slog.Attr {
	return []slog.Attr{slog.Int("count", e.Count)}
}

// levelOf is bad when there is a cause, and Info after an orderly end.
func levelOf(cause error, bad slog.Level) slog.Level {
	if cause == nil {
		return slog.LevelInfo
	}
	return bad
}

func errAttr(key string, err error) slog.Attr {
	if err == nil {
		return slog.Attr{}
	}
	return slog.String(key, err.Error())
}

// ms is a duration as every handler spells it: slog's own would print
// nanoseconds as JSON.
func ms(key string, d time.Duration) slog.Attr { return slog.Int64(key+"_ms", d.Milliseconds()) }

func optional(key, value string) slog.Attr {
	if value == "" {
		return slog.Attr{}
	}
	return slog.String(key, value)
}

// present leaves out the attributes that errAttr and optional left empty.
func present(attrs ...slog.Attr) []slog.Attr {
	return slices.DeleteFunc(attrs, func(a slog.Attr) bool { return a.Key == "" })
}
