package messages

// How each event is logged, in the order of event.go.

import (
	"log/slog"
	"slices"
	"time"
)

func (SessionSuspended) name() string      { return "session_suspended" }
func (SessionSuspended) level() slog.Level { return slog.LevelWarn }
func (e SessionSuspended) attrs() []slog.Attr {
	return present(
		slog.Int64("lease", e.Lease),
		errAttr("err", e.Err),
	)
}

func (SessionLost) name() string      { return "session_lost" }
func (SessionLost) level() slog.Level { return slog.LevelError }
func (e SessionLost) attrs() []slog.Attr {
	return []slog.Attr{slog.Int64("lease", e.Lease)}
}

func (SessionRenewed) name() string      { return "session_renewed" }
func (SessionRenewed) level() slog.Level { return slog.LevelInfo }
func (e SessionRenewed) attrs() []slog.Attr {
	return []slog.Attr{
		slog.Int64("lease", e.Lease),
		slog.Int64("previous", e.Previous),
	}
}

func (RegistrationRestored) name() string      { return "registration_restored" }
func (RegistrationRestored) level() slog.Level { return slog.LevelWarn }
func (e RegistrationRestored) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("key", e.Key),
		slog.String("why", e.Why),
	}
}

func (RegistrationAwaited) name() string      { return "registration_awaited" }
func (RegistrationAwaited) level() slog.Level { return slog.LevelWarn }
func (e RegistrationAwaited) attrs() []slog.Attr {
	return []slog.Attr{slog.String("key", e.Key), slog.String("holder", e.Holder), ms("left", e.Left)}
}

func (RegistrationTroubled) name() string      { return "registration_troubled" }
func (RegistrationTroubled) level() slog.Level { return slog.LevelError }
func (e RegistrationTroubled) attrs() []slog.Attr {
	return present(slog.String("key", e.Key), errAttr("err", e.Err))
}

func (RegistryDelayed) name() string         { return "registry_delayed" }
func (RegistryDelayed) level() slog.Level    { return slog.LevelWarn }
func (e RegistryDelayed) attrs() []slog.Attr { return present(errAttr("err", e.Err)) }

func (DestinationRegistered) name() string      { return "destination_registered" }
func (DestinationRegistered) level() slog.Level { return slog.LevelInfo }
func (e DestinationRegistered) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("sender", e.Sender),
		slog.Any("urls", e.URLs),
		slog.Bool("local", e.Local),
	}
}

func (SenderMoved) name() string      { return "sender_moved" }
func (SenderMoved) level() slog.Level { return slog.LevelWarn }
func (e SenderMoved) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("sender", e.Sender),
		slog.Any("urls", e.URLs),
		slog.Bool("local", e.Local),
	}
}

func (DestinationUnregistered) name() string      { return "destination_unregistered" }
func (DestinationUnregistered) level() slog.Level { return slog.LevelInfo }
func (e DestinationUnregistered) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("sender", e.Sender),
	}
}

func (GroupFound) name() string      { return "group_found" }
func (GroupFound) level() slog.Level { return slog.LevelInfo }
func (e GroupFound) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
	}
}

func (GroupBegan) name() string      { return "group_began" }
func (GroupBegan) level() slog.Level { return slog.LevelWarn }
func (e GroupBegan) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.Uint64("missed", e.Missed),
	}
}

func (GroupRemoved) name() string { return "group_removed" }

// Level implements Event: a warning when messages were lost.
func (e GroupRemoved) level() slog.Level {
	if e.Unsent > 0 {
		return slog.LevelWarn
	}
	return slog.LevelInfo
}

func (e GroupRemoved) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.Int("unsent", e.Unsent),
		slog.Int64("bytes", e.Bytes),
	}
}

func (MemberLinked) name() string      { return "member_linked" }
func (MemberLinked) level() slog.Level { return slog.LevelInfo }
func (e MemberLinked) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.String("sender", e.Sender),
		slog.String("addr", e.Addr),
	}
}

func (MemberUnlinked) name() string        { return "member_unlinked" }
func (e MemberUnlinked) level() slog.Level { return levelOf(e.Cause, slog.LevelWarn) }
func (e MemberUnlinked) attrs() []slog.Attr {
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

func (SenderLinked) name() string      { return "sender_linked" }
func (SenderLinked) level() slog.Level { return slog.LevelInfo }
func (e SenderLinked) attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.String("sender", e.Sender),
		slog.String("addr", e.Addr),
		errAttr("passed", e.Passed),
	)
}

func (SenderUnlinked) name() string        { return "sender_unlinked" }
func (e SenderUnlinked) level() slog.Level { return levelOf(e.Cause, slog.LevelWarn) }
func (e SenderUnlinked) attrs() []slog.Attr {
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

func (LeftGroup) name() string      { return "left_group" }
func (LeftGroup) level() slog.Level { return slog.LevelInfo }
func (e LeftGroup) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
	}
}

func (ConnectionRefused) name() string { return "connection_refused" }

func (e ConnectionRefused) level() slog.Level {
	if e.Reason == "closing" {
		return slog.LevelDebug // the other side dials again
	}
	return slog.LevelWarn
}

func (e ConnectionRefused) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("remote", e.Remote),
		slog.String("reason", e.Reason),
		slog.Int("count", times(e.Count)),
	}
}

func (ProtocolViolated) name() string      { return "protocol_violated" }
func (ProtocolViolated) level() slog.Level { return slog.LevelWarn }
func (e ProtocolViolated) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.String("sender", e.Sender),
		slog.String("addr", e.Addr),
		errAttr("err", e.Err),
	}
}

func (Redelivered) name() string      { return "redelivered" }
func (Redelivered) level() slog.Level { return slog.LevelInfo }
func (e Redelivered) attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.Int("count", e.Count),
		errAttr("cause", e.Cause),
	)
}

func (MessageNacked) name() string      { return "message_nacked" }
func (MessageNacked) level() slog.Level { return slog.LevelDebug }
func (e MessageNacked) attrs() []slog.Attr {
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

func (AckWaitExpired) name() string      { return "ack_wait_expired" }
func (AckWaitExpired) level() slog.Level { return slog.LevelWarn }
func (e AckWaitExpired) attrs() []slog.Attr {
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

func (LateAck) name() string      { return "late_ack" }
func (LateAck) level() slog.Level { return slog.LevelInfo }
func (e LateAck) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.Uint64("seq", e.Seq),
		slog.Int("count", times(e.Count)),
	}
}

func (AttemptsExhausted) name() string      { return "attempts_exhausted" }
func (AttemptsExhausted) level() slog.Level { return slog.LevelError }
func (e AttemptsExhausted) attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.Uint64("seq", e.Seq),
		slog.Int("attempt", e.Attempt),
		slog.Int("deaths", e.Deaths),
		errAttr("err", e.Err),
		ms("delay", e.Delay),
		slog.Int("count", times(e.Count)),
	)
}

func (DeadLettered) name() string      { return "dead_lettered" }
func (DeadLettered) level() slog.Level { return slog.LevelWarn }
func (e DeadLettered) attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.Int("attempt", e.Attempt),
		slog.Int("deaths", e.Deaths),
		slog.Bool("rejected", e.Rejected),
		errAttr("err", e.Err),
		slog.Int("count", times(e.Count)),
	)
}

func (MessagesDropped) name() string      { return "messages_dropped" }
func (MessagesDropped) level() slog.Level { return slog.LevelWarn }
func (e MessagesDropped) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.Int("count", e.Count),
		slog.Int64("bytes", e.Bytes),
		slog.String("why", e.Why),
	}
}

func (MessagesExpired) name() string      { return "messages_expired" }
func (MessagesExpired) level() slog.Level { return slog.LevelWarn }
func (e MessagesExpired) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.Int("count", e.Count),
		slog.Int64("bytes", e.Bytes),
		slog.Int("untold", e.Untold),
	}
}

func (Abandoned) name() string      { return "abandoned" }
func (Abandoned) level() slog.Level { return slog.LevelWarn }
func (e Abandoned) attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.Int("count", e.Count),
		slog.Int64("bytes", e.Bytes),
		errAttr("cause", e.Cause),
	)
}

func (Drained) name() string      { return "drained" }
func (Drained) level() slog.Level { return slog.LevelInfo }
func (e Drained) attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		optional("group", e.Group),
		ms("took", e.Took),
	)
}

func (SendBlocked) name() string      { return "send_blocked" }
func (SendBlocked) level() slog.Level { return slog.LevelWarn }
func (e SendBlocked) attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		optional("group", e.Group),
		names("missing", e.Missing),
		slog.Time("since", e.Since),
		slog.String("why", e.Why),
		slog.Int("count", times(e.Count)),
	)
}

func (HandlerPanicked) name() string      { return "handler_panicked" }
func (HandlerPanicked) level() slog.Level { return slog.LevelError }
func (e HandlerPanicked) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("value", e.Value),
		slog.String("stack", e.Stack),
		slog.Int("count", times(e.Count)),
	}
}

func (HandlerStuck) name() string      { return "handler_stuck" }
func (HandlerStuck) level() slog.Level { return slog.LevelWarn }
func (e HandlerStuck) attrs() []slog.Attr {
	return present(
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.Uint64("seq", e.Seq),
		ms("running", e.Running),
		optional("stack", e.Stack),
		slog.Int("count", times(e.Count)),
	)
}

func (ReceiverStuck) name() string      { return "receiver_stuck" }
func (ReceiverStuck) level() slog.Level { return slog.LevelWarn }
func (e ReceiverStuck) attrs() []slog.Attr {
	return present(
		optional("destination", e.Destination),
		optional("topic", e.Topic),
		slog.String("group", e.Group),
		slog.String("receiver", e.Receiver),
		ms("waiting", e.Waiting),
		slog.String("why", e.Why),
	)
}

func (UnreadReturned) name() string      { return "unread_returned" }
func (UnreadReturned) level() slog.Level { return slog.LevelInfo }
func (e UnreadReturned) attrs() []slog.Attr {
	return []slog.Attr{
		slog.String("destination", e.Destination),
		slog.String("group", e.Group),
		slog.String("member", e.Member),
		slog.Int("count", e.Count),
		slog.String("why", e.Why),
	}
}

func (CallbackPanicked) name() string      { return "callback_panicked" }
func (CallbackPanicked) level() slog.Level { return slog.LevelError }
func (e CallbackPanicked) attrs() []slog.Attr {
	return present(
		slog.String("callback", e.Callback),
		slog.Int("count", e.Count),
		slog.String("value", e.Value),
		slog.String("stack", e.Stack),
	)
}

func (ActorRestarted) name() string      { return "actor_restarted" }
func (ActorRestarted) level() slog.Level { return slog.LevelWarn }
func (e ActorRestarted) attrs() []slog.Attr {
	return present(
		slog.String("actor", e.Actor),
		errAttr("err", e.Err),
		slog.Int("attempt", e.Attempt),
		ms("delay", e.Delay),
	)
}

func (ActorStopped) name() string        { return "actor_stopped" }
func (e ActorStopped) level() slog.Level { return levelOf(e.Err, slog.LevelError) }
func (e ActorStopped) attrs() []slog.Attr {
	return present(
		slog.String("actor", e.Actor),
		errAttr("err", e.Err),
	)
}

func (RuntimeStopped) name() string        { return "runtime_stopped" }
func (e RuntimeStopped) level() slog.Level { return levelOf(e.Err, slog.LevelError) }
func (e RuntimeStopped) attrs() []slog.Attr {
	return present(errAttr("err", e.Err))
}

func (EventsLost) name() string      { return "events_lost" }
func (EventsLost) level() slog.Level { return slog.LevelWarn }
func (e EventsLost) attrs() []slog.Attr {
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

// names is no attribute when there are none.
func names(key string, all []string) slog.Attr {
	if len(all) == 0 {
		return slog.Attr{}
	}
	return slog.Any(key, all)
}

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
