package pipes

import (
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
)

func TestParseKeepFor(t *testing.T) {
	for in, want := range map[string]time.Duration{"forever": penstock.Forever, "90s": 90 * time.Second, "1m0s": time.Minute} {
		if got, err := parseKeepFor(in); err != nil || got != want {
			t.Errorf("%q: %v, %v", in, got, err)
		}
	}
}

func TestAppendJSON(t *testing.T) {
	m := penstock.Message{
		Key: []byte("k"), Value: []byte("line\nbreak"), Time: time.Unix(1, 5).UTC(),
		Headers: []penstock.Header{{Name: "h", Value: []byte("v")}, {Name: "b", Value: []byte{0xfe}}},
	}
	d := penstock.Delivery{Payload: messages.PayloadOf(&m), Sender: "s", Seq: 7, Attempt: 2, Redelivered: true}
	want := `{"key":"k","value":"line\nbreak","headers":[{"name":"h","value":"v"},{"name":"b","value_base64":"/g=="}],` +
		`"attempt":2,"redelivered":true,"sender":"s","seq":7,"time":"1970-01-01T00:00:01.000000005Z"}` + "\n"
	if got := string(appendJSON(nil, &d)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := string(appendJSON(nil, &penstock.Delivery{})); got != `{"value":"","attempt":0,"sender":"","seq":0}`+"\n" {
		t.Errorf("an empty one: %s", got)
	}
}
