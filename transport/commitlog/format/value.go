package format

// How values are encoded, and what an undecodable one is.

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/penstock-io/penstock/messages"
)

// Encode is the value that etcd keeps of a message of package pb. Equal messages
// have equal values. Strings in m must be UTF-8.
func Encode(m proto.Message) string {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(err) // a string that is not UTF-8: names are validated before
	}
	return string(b)
}

// corrupt names a key whose value is not what it should be.
func corrupt(key, format string, args ...any) error {
	return fmt.Errorf("%s: %w: %s", key, messages.ErrCorrupt, fmt.Sprintf(format, args...))
}
