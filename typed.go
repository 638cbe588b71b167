package penstock

// Typed payloads: values in place of bytes, for pipes and topics.

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
)

// Codec encodes values of one type as the Value of messages, and decodes them. It must be
// safe for concurrent use. JSON and Protobuf make the usual ones.
type Codec[T any] interface {
	// Append appends the encoded body to b, and returns the longer slice.
	Append(b []byte, body T) ([]byte, error)
	// Decode returns what b encodes. b is read-only, and stays valid for as long as what
	// Decode returns refers to it; but see ReuseBuffers.
	Decode(b []byte) (T, error)
	// ContentType is the media type, such as "application/json"; empty is none.
	ContentType() string
}

// JSON is the codec of encoding/json. Its content type is application/json.
func JSON[T any]() Codec[T] { return jsonCodec[T]{} }

type jsonCodec[T any] struct{}

func (jsonCodec[T]) Append(b []byte, body T) ([]byte, error) {
	out, err := json.Marshal(body)
	return append(b, out...), err
}

func (jsonCodec[T]) Decode(b []byte) (body T, err error) {
	err = json.Unmarshal(b, &body)
	return body, err
}

func (jsonCodec[T]) ContentType() string { return "application/json" }

// Protobuf is the codec of a generated message, a pointer such as *pb.Order. Its content
// type is application/protobuf.
func Protobuf[T proto.Message]() Codec[T] { return protoCodec[T]{} }

type protoCodec[T proto.Message] struct{}

func (protoCodec[T]) Append(b []byte, body T) ([]byte, error) {
	return proto.MarshalOptions{}.MarshalAppend(b, body)
}

func (protoCodec[T]) Decode(b []byte) (T, error) {
	var none T
	body := none.ProtoReflect().Type().New().Interface().(T)
	return body, proto.Unmarshal(b, body)
}

func (protoCodec[T]) ContentType() string { return "application/protobuf" }

// contentType is the header that names a codec's media type.
const contentType = "content-type"

// Typed makes typed ends of destinations, members, topics and subscriptions: thin wrappers
// that encode and decode, with the promises, errors and concurrency of what they wrap.
//
// What is sent has the codec's content type as the header "content-type". What comes with
// another one, but for parameters behind a semicolon, is not decoded; without that header it
// is. What cannot be decoded is rejected: it becomes a dead letter, raw, and an event
// (messages.MessageRejected, RecordRejected) has the error; a request is refused.
type Typed[T any] struct {
	// Codec must be set: else everything is ErrInvalid.
	Codec Codec[T]
	// Key, unless it is nil, makes the key of a message.
	Key func(body T) []byte
}

// Message is body as a message with a buffer of its own, to add headers or a time to.
//
// Errors: ErrInvalid without a codec, and what the codec returns.
func (t Typed[T]) Message(body T) (Message, error) { return t.encode(nil, body) }

// Decode returns what a delivery's, record's or reply's Payload says: of a tombstone, which
// has no value, the zero T.
//
// Errors: ErrCorrupt, with the codec's, when it cannot be decoded or has another content
// type; ErrInvalid without a codec.
func (t Typed[T]) Decode(p Payload) (T, error) {
	var none T
	if t.Codec == nil {
		return none, errNoCodec
	}
	if p.Tombstone() {
		return none, nil
	}
	if want := t.Codec.ContentType(); want != "" {
		if got, ok := p.Header(contentType); ok && !sameType(string(got), want) {
			return none, fmt.Errorf("content type %q, want %q: %w", got, want, ErrCorrupt)
		}
	}
	body, err := t.Codec.Decode(p.Value)
	if err != nil {
		return none, fmt.Errorf("decode %d bytes: %w: %w", len(p.Value), ErrCorrupt, err)
	}
	return body, nil
}

var errNoCodec = fmt.Errorf("a Typed without a Codec: %w", ErrInvalid)

// sameType compares media types without their parameters.
func sameType(a, b string) bool {
	a, _, _ = strings.Cut(a, ";")
	b, _, _ = strings.Cut(b, ";")
	return strings.EqualFold(strings.TrimSpace(a), strings.TrimSpace(b))
}

// encode makes a message whose value is appended to b.
func (t Typed[T]) encode(b []byte, body T) (m Message, err error) {
	if t.Codec == nil {
		return m, errNoCodec
	}
	if m.Value, err = t.Codec.Append(b, body); err != nil {
		return Message{}, fmt.Errorf("encode %T: %w", body, err)
	}
	if t.Key != nil {
		m.Key = t.Key(body)
	}
	if media := t.Codec.ContentType(); media != "" {
		m.Headers = []Header{{Name: contentType, Value: []byte(media)}}
	}
	return m, nil
}

// encodings are buffers for values, which sends and puts copy.
var encodings = sync.Pool{New: func() any { return new([]byte) }}

// encodingKept is the largest buffer that is used again.
const encodingKept = 64 << 10

// with has use send body, whose bytes it copies.
func (t Typed[T]) with(body T, use func(Message) error) error {
	buf := encodings.Get().(*[]byte)
	defer encodings.Put(buf)
	m, err := t.encode((*buf)[:0], body)
	if err != nil {
		return err
	}
	if cap(m.Value) <= encodingKept {
		*buf = m.Value[:0]
	}
	return use(m)
}

// all encodes a batch, up to the first that cannot be.
func (t Typed[T]) all(bodies []T) (msgs []Message, err error) {
	msgs = make([]Message, 0, len(bodies))
	for _, body := range bodies {
		m, err := t.encode(nil, body)
		if err != nil {
			return msgs, err
		}
		msgs = append(msgs, m)
	}
	return msgs, nil
}

// Destination is d for values.
func (t Typed[T]) Destination(d *Destination) TypedDestination[T] { return TypedDestination[T]{t, d} }

// TypedDestination sends values. Its methods have the errors of Destination's, ErrInvalid
// without a codec, and what the codec returns; then nothing was sent.
type TypedDestination[T any] struct {
	typed Typed[T]
	d     *Destination
}

// Send is Destination.Send.
func (d TypedDestination[T]) Send(ctx context.Context, body T) error {
	return d.typed.with(body, func(m Message) error { return d.d.Send(ctx, m) })
}

// TrySend is Destination.TrySend.
func (d TypedDestination[T]) TrySend(ctx context.Context, body T) error {
	return d.typed.with(body, func(m Message) error { return d.d.TrySend(ctx, m) })
}

// SendAsync is Destination.SendAsync.
func (d TypedDestination[T]) SendAsync(ctx context.Context, body T, done func(error)) error {
	return d.typed.with(body, func(m Message) error { return d.d.SendAsync(ctx, m, done) })
}

// SendBatch is Destination.SendBatch. What cannot be encoded ends it as what is refused does.
func (d TypedDestination[T]) SendBatch(ctx context.Context, bodies []T) (accepted int, err error) {
	msgs, bad := d.typed.all(bodies)
	if accepted, err = d.d.SendBatch(ctx, msgs); err != nil {
		return accepted, err
	}
	return accepted, bad
}

// Request is Destination.Request. The reply may be of another type: decode it with the Decode
// of its Typed.
func (d TypedDestination[T]) Request(ctx context.Context, body T, opts ...RequestOption) (r Reply, err error) {
	err = d.typed.with(body, func(m Message) error {
		r, err = d.d.Request(ctx, m, opts...)
		return err
	})
	return r, err
}

// Member is m for values.
func (t Typed[T]) Member(m *Member) TypedMember[T] { return TypedMember[T]{t, m} }

// TypedDelivery is a delivery and its decoded body.
type TypedDelivery[T any] struct {
	Delivery
	Body T
}

// TypedMember receives values. What cannot be decoded it rejects, and passes over.
type TypedMember[T any] struct {
	typed Typed[T]
	m     *Member
}

// open decodes d, or rejects it.
func (m TypedMember[T]) open(d Delivery) (TypedDelivery[T], bool) {
	body, err := m.typed.Decode(d.Payload)
	if err != nil {
		d.Reject(err)
	}
	return TypedDelivery[T]{d, body}, err == nil
}

// Messages is Member.Messages.
func (m TypedMember[T]) Messages(ctx context.Context, opts ...ReadOption) iter.Seq2[TypedDelivery[T], error] {
	return func(yield func(TypedDelivery[T], error) bool) {
		if m.typed.Codec == nil {
			yield(TypedDelivery[T]{}, errNoCodec)
			return
		}
		for d, err := range m.m.Messages(ctx, opts...) {
			if err != nil {
				yield(TypedDelivery[T]{}, err)
				return
			}
			if opened, ok := m.open(d); ok && !yield(opened, nil) {
				return
			}
		}
	}
}

// Poll is Member.Poll. It waits on when nothing of what came could be decoded.
func (m TypedMember[T]) Poll(ctx context.Context, max int, opts ...ReadOption) (out []TypedDelivery[T], err error) {
	if m.typed.Codec == nil {
		return nil, errNoCodec
	}
	for len(out) == 0 {
		ds, err := m.m.Poll(ctx, max, opts...)
		if err != nil {
			return nil, err
		}
		for _, d := range ds {
			if opened, ok := m.open(d); ok {
				out = append(out, opened)
			}
		}
	}
	return out, nil
}

// Consume is Member.Consume. What cannot be decoded does not reach handler, but the
// middleware of Use, as an error that wraps ErrReject.
func (m TypedMember[T]) Consume(ctx context.Context, handler func(ctx context.Context, d TypedDelivery[T]) error) error {
	switch {
	case m.typed.Codec == nil:
		return errNoCodec
	case handler == nil:
		return m.m.Consume(ctx, nil)
	}
	return m.m.Consume(ctx, func(ctx context.Context, d Delivery) error {
		body, err := m.typed.Decode(d.Payload)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrReject, err)
		}
		return handler(ctx, TypedDelivery[T]{d, body})
	})
}

// Topic is topic for values.
func (t Typed[T]) Topic(topic *Topic) TypedTopic[T] { return TypedTopic[T]{t, topic} }

// TypedTopic puts values. Its methods have the errors of Topic's, ErrInvalid without a codec,
// and what the codec returns; then nothing was put.
type TypedTopic[T any] struct {
	typed Typed[T]
	t     *Topic
}

// Put is Topic.Put.
func (t TypedTopic[T]) Put(ctx context.Context, body T) (partition int, offset int64, err error) {
	partition, offset = -1, -1
	err = t.typed.with(body, func(m Message) error {
		partition, offset, err = t.t.Put(ctx, m)
		return err
	})
	return partition, offset, err
}

// PutAsync is Topic.PutAsync.
func (t TypedTopic[T]) PutAsync(ctx context.Context, body T, done func(PutResult)) error {
	return t.typed.with(body, func(m Message) error { return t.t.PutAsync(ctx, m, done) })
}

// PutBatch is Topic.PutBatch. When one cannot be encoded nothing is put.
func (t TypedTopic[T]) PutBatch(ctx context.Context, bodies []T) ([]PutResult, error) {
	msgs, err := t.typed.all(bodies)
	if err != nil {
		return nil, err
	}
	return t.t.PutBatch(ctx, msgs)
}

// Subscription is s for values.
func (t Typed[T]) Subscription(s *Subscription) TypedSubscription[T] {
	return TypedSubscription[T]{t, s}
}

// TypedRecord is a record and its decoded body.
type TypedRecord[T any] struct {
	Record
	Body T
}

// TypedSubscription handles values. A loop over Subscription.Records and Poll have no typed
// form, as a record of theirs cannot be rejected: use Decode in the loop's body.
type TypedSubscription[T any] struct {
	typed Typed[T]
	s     *Subscription
}

// Consume is Subscription.Consume. What cannot be decoded does not reach handler, but the
// middleware of UseRecords, as an error that wraps ErrReject.
func (s TypedSubscription[T]) Consume(ctx context.Context, handler func(ctx context.Context, r TypedRecord[T]) error) error {
	switch {
	case s.typed.Codec == nil:
		return errNoCodec
	case handler == nil:
		return s.s.Consume(ctx, nil)
	}
	return s.s.Consume(ctx, func(ctx context.Context, r Record) error {
		body, err := s.typed.Decode(r.Payload)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrReject, err)
		}
		return handler(ctx, TypedRecord[T]{r, body})
	})
}

// Table is t for values.
func (t Typed[T]) Table(table *Table) TypedTable[T] { return TypedTable[T]{t, table} }

// TypedTable reads values from a table. Fresh, Watch and the rest are Table's.
type TypedTable[T any] struct {
	typed Typed[T]
	t     *Table
}

// Get is Table.Get.
//
// Errors: those of Typed.Decode. ok then says that there is a record.
func (t TypedTable[T]) Get(key []byte) (r TypedRecord[T], ok bool, err error) {
	if t.typed.Codec == nil {
		return r, false, errNoCodec
	}
	if r.Record, ok = t.t.Get(key); ok {
		r.Body, err = t.typed.Decode(r.Payload)
	}
	return r, ok, err
}

// All is Table.All. A record that cannot be decoded comes with the error of Typed.Decode and
// the zero T; the loop continues behind it.
func (t TypedTable[T]) All() iter.Seq2[TypedRecord[T], error] {
	return func(yield func(TypedRecord[T], error) bool) {
		if t.typed.Codec == nil {
			yield(TypedRecord[T]{}, errNoCodec)
			return
		}
		for _, r := range t.t.All() {
			body, err := t.typed.Decode(r.Payload)
			if !yield(TypedRecord[T]{r, body}, err) {
				return
			}
		}
	}
}
