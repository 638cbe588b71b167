package lines

// Keys, values and headers as JSON.

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/penstock-io/penstock/messages"
)

// Payload is what a message and a record carry. Bytes that are no text are in
// the second of each pair of fields.
type Payload struct {
	Key         *string  `json:"key,omitempty"`
	KeyBase64   string   `json:"key_base64,omitempty"`
	Value       *string  `json:"value,omitempty"`
	ValueBase64 string   `json:"value_base64,omitempty"`
	Headers     []Header `json:"headers,omitempty"`
	Tombstone   bool     `json:"tombstone,omitempty"`
}

// Header is one header of a message.
type Header struct {
	Name        string  `json:"name"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 string  `json:"value_base64,omitempty"`
}

// PayloadOf returns a payload as JSON has it.
func PayloadOf(r *messages.Payload) (p Payload) {
	if len(r.Key) > 0 {
		p.Key, p.KeyBase64 = text(r.Key)
	}
	p.Value, p.ValueBase64 = text(r.Value)
	p.Tombstone = r.Tombstone()
	for name, value := range r.Headers() {
		h := Header{Name: name}
		h.Value, h.ValueBase64 = text(value)
		p.Headers = append(p.Headers, h)
	}
	return p
}

// MessageOf returns what a message carries as JSON has it.
func MessageOf(m *messages.Message) (p Payload) {
	if len(m.Key) > 0 {
		p.Key, p.KeyBase64 = text(m.Key)
	}
	p.Value, p.ValueBase64 = text(m.Value)
	for _, h := range m.Headers {
		is := Header{Name: h.Name}
		is.Value, is.ValueBase64 = text(h.Value)
		p.Headers = append(p.Headers, is)
	}
	return p
}

// text splits bytes into what JSON can hold as they are, and what it cannot.
func text(b []byte) (plain *string, encoded string) {
	if !utf8.Valid(b) {
		return nil, base64.StdEncoding.EncodeToString(b)
	}
	s := string(b)
	return &s, ""
}

// AppendJSON appends v, which holds nothing but strings, numbers and
// times, on one line.
func AppendJSON[T any](dst []byte, v T) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Errorf("a line of strings and numbers: %w", err))
	}
	return append(append(dst, b...), '\n')
}
