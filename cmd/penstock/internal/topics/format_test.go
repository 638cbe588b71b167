package topics

import (
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/messages"
)

// recordOf is a record as it is handed out.
func recordOf(key, value string) penstock.Record {
	m := penstock.Message{Key: []byte(key), Value: []byte(value), Time: time.Unix(1, 5)}
	return penstock.Record{Payload: messages.PayloadOf(&m), Topic: "audit", Partition: 3, Offset: 42, Fence: 7, Attempt: 1}
}

func TestParseFormat(t *testing.T) {
	r := recordOf("k\n", "v%p")
	for format, want := range map[string]string{
		`%v\n`:                  "v%p\n",
		"":                      "",
		"%p:%o %k=%v %t %%":     "3:42 k\n=v%p 1970-01-01T00:00:01.000000005Z %",
		`%%p\t\\\x00\u00e9\xe9`: "%p\t\\\x00é\xe9",
		"é\xff%v":               "é\xffv%p",
		`"%v"`:                  `"v%p"`,
	} {
		encode, err := parseFormat(format)
		if err != nil {
			t.Errorf("%q: %v", format, err)
			continue
		}
		if got := string(encode([]byte(">"), &r)); got != ">"+want {
			t.Errorf("%q prints %q, want %q", format, got, want)
		}
	}
	for _, format := range []string{"%", "%x", "100%", `\`, `\q`, `\x1`, "%v% "} {
		if _, err := parseFormat(format); cli.CodeOf(err) != cli.ExitUsage {
			t.Errorf("%q: %v", format, err)
		}
	}
}

// What holds no verb and no backslash is printed as it is.
func FuzzParseFormat(f *testing.F) {
	f.Add(`%p:%o\n`)
	f.Add(`\xff%%`)
	f.Fuzz(func(t *testing.T, format string) {
		r := recordOf("", "")
		encode, err := parseFormat(format)
		if err != nil {
			if cli.CodeOf(err) != cli.ExitUsage {
				t.Errorf("%q: %v", format, err)
			}
			return
		}
		if got := string(encode(nil, &r)); !strings.ContainsAny(format, `%\`) && got != format {
			t.Errorf("%q prints %q", format, got)
		}
	})
}

func TestAppendRecordJSON(t *testing.T) {
	r := recordOf("k", "\xff")
	want := `{"key":"k","value_base64":"/w==","partition":3,"offset":42,"time":"1970-01-01T00:00:01.000000005Z","fence":7,"attempt":1}` + "\n"
	if got := string(appendRecordJSON(nil, &r)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
