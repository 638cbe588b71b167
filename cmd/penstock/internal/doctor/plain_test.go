package doctor

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/penstock-io/penstock/transport/address"
	"github.com/penstock-io/penstock/transport/nanomsg"
)

// Promise: the doctor tells a plain listener from what is none, takes no message of it, and
// says that it has neither TLS nor tokens.
func TestPlainListeners(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var urls []address.URL
	for _, text := range []string{"tcp://127.0.0.1:0", "ws://127.0.0.1:0/plain", "ipc://" + t.TempDir() + "/p.sock"} {
		u, err := address.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		urls = append(urls, u)
	}
	l, err := nanomsg.Listen(ctx, nanomsg.ListenerConfig{URLs: urls})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, url := range l.URLs() {
		c := judgePlain("sender orders/s", url, listen(ctx, url))
		if c.Status != verdictOK || c.Name != "sender orders/s plain" || !strings.Contains(c.Found, "neither TLS nor tokens") {
			t.Errorf("%+v", c)
		}
	}
	hung, stop := context.WithTimeout(ctx, 200*time.Millisecond)
	defer stop()
	if p, err := l.Accept(hung); err == nil {
		t.Errorf("the listener takes the doctor for a peer at %s, and would give it messages", p.URL())
	}

	for says, want := range map[string]string{
		"\x00SP\x00\x00\x10\x00\x00": "protocol 0x10",
		"HTTP/1.1 400 Bad Request":   "it says 48 54",
		"":                           "no PUSH socket",
	} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			if c, err := ln.Accept(); err == nil {
				_, _ = io.WriteString(c, says)
				_ = c.Close()
			}
		}()
		url := "tcp://" + ln.Addr().String()
		if c := judgePlain("s", url, listen(ctx, url)); c.Status != verdictFail || !strings.Contains(c.Found, want) || c.Do == "" {
			t.Errorf("of what says %q: %+v", says, c)
		}
		<-done
		_ = ln.Close()
		if c := judgePlain("s", url, listen(ctx, url)); c.Status != verdictFail || c.Do == "" {
			t.Errorf("nobody listens: %+v", c)
		}
	}
	for url, want := range map[string]verdict{
		"tcp://127.0.0.1:7100": verdictOK, "ipc:///run/p.sock": verdictOK, "tcp://[::1]:7100": verdictOK,
		"tcp://192.0.2.1:7100": verdictWarn, "ws://plain.example:80/": verdictWarn,
	} {
		if c := judgePlain("s", url, nil); c.Status != want || (c.Do != "") != (want == verdictWarn) {
			t.Errorf("%s: %+v", url, c)
		}
	}
}
