package penstock_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/supervisor"
)

var actorNumber = regexp.MustCompile(`#\d+`)

// ask gets one page of a diagnostics listener; addr is host:port or a unix URL.
func ask(t *testing.T, addr, path, host string) (int, []byte) {
	t.Helper()
	transport := &http.Transport{DisableKeepAlives: true}
	url := "http://" + addr + path
	if sock, ok := strings.CutPrefix(addr, "unix://"); ok {
		url = "http://localhost" + path
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", sock)
		}
	}
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		req.Host = host
	}
	resp, err := (&http.Client{Transport: transport, Timeout: harness.Patience}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, body
}

func TestDiagnosticsTellsWhatHappens(t *testing.T) {
	places := map[string]string{"Tcp": "127.0.0.1:0", "Unix": "unix://" + filepath.Join(t.TempDir(), "d.sock")}
	for name, at := range places {
		t.Run(name, func(t *testing.T) {
			rt := harness.OrderlyRuntime(t, penstock.Diagnostics(at))
			ctx, cancel := context.WithTimeout(t.Context(), harness.Patience)
			defer cancel()
			orders, err := rt.Register(ctx, "orders")
			if err != nil {
				t.Fatal(err)
			}
			billing, err := rt.Join(ctx, "orders", "billing", penstock.MemberID("b1"))
			if err != nil {
				t.Fatal(err)
			}
			if err := orders.Send(ctx, penstock.Message{Value: []byte("one")}); err != nil {
				t.Fatal(err)
			}
			for msg, err := range billing.Messages(ctx) {
				if err != nil {
					t.Fatal(err)
				}
				msg.Ack()
				break
			}
			audit, err := rt.EnsureTopic(ctx, "audit", penstock.TopicConfig{})
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				if _, _, err := audit.Put(ctx, penstock.Message{Value: []byte("one")}); err != nil {
					t.Fatal(err)
				}
			}
			export, err := audit.Subscribe(ctx, "export", penstock.MemberID("e1"))
			if err != nil {
				t.Fatal(err)
			}
			recs, err := export.Poll(ctx, 2)
			if err != nil || export.Commit(ctx, recs...) != nil {
				t.Fatal(recs, err)
			}
			addr := rt.DiagnosticsAddr()
			if addr == "" || strings.HasSuffix(addr, ":0") {
				t.Fatalf("address %q cannot be dialled", addr)
			}

			code, body := ask(t, addr, "/actors", "")
			var tree struct {
				Actors []struct {
					ID, State  string
					Attributes []struct{ Name, Value string }
				}
			}
			if err := json.Unmarshal(body, &tree); err != nil || code != http.StatusOK {
				t.Fatalf("/actors: %d, %v: %s", code, err, body)
			}
			for _, part := range []string{"dest/orders", "member/orders/billing", "diagnostics"} {
				if !strings.Contains(string(body), part) {
					t.Errorf("/actors lacks %q: %s", part, body)
				}
			}
			reported := make(map[string]string) // of the last actor of a name
			for _, a := range tree.Actors {
				if a.ID == "" || a.State == "" {
					t.Errorf("an actor without id or state: %+v", a)
				}
				for _, at := range a.Attributes {
					reported[actorNumber.ReplaceAllString(a.ID[strings.Index(a.ID, "/")+1:], "")+" "+at.Name] = at.Value
				}
			}
			for what, want := range map[string]string{
				"session lease": "", "dest/orders groups": "1", "dest/orders members": "1", "dest/orders pending": "0",
				"dest/orders/pipe/billing links": "1", "dest/orders/pipe/billing queued": "0",
				"dest/orders/pipe/billing/link/b1 in_flight": "0", "dest/orders/pipe/billing/link/b1 sent": "1",
				"member/orders/billing senders": "1", "member/orders/billing links": "1", "member/orders/billing waiting": "0",
				"topic/audit queued_bytes": "0", "topic/audit/partition/0 last_append": "", "topic/audit/partition/0 end": "3",
				"topic/audit/partition/0 readers": "1", "subscription/audit/export owned": "1",
				"subscription/audit/export generation": "1", "subscription/audit/export/consumer/0 finished": "",
				"subscription/audit/export/consumer/0 committed": "1", "subscription/audit/export/consumer/0 lag": "2",
			} {
				if got, ok := reported[what]; !ok || want != "" && got != want {
					t.Errorf("/actors reports %q as %q, want %q", what, got, want)
				}
			}

			code, body = ask(t, addr, "/stats", "")
			var stats struct {
				Pipes []struct {
					Destination, Group string
					Accepted           int
				}
				Members []struct {
					Member    string
					Delivered int
				}
				Topics []struct {
					Topic              string
					Records, Committed int
				}
				Subscriptions []struct {
					Topic, Group, Member string
					Partitions, Commits  int
				}
			}
			if err := json.Unmarshal(body, &stats); err != nil || code != http.StatusOK {
				t.Fatalf("/stats: %d, %v: %s", code, err, body)
			}
			if got := fmt.Sprint(stats); got != "{[{orders billing 1}] [{b1 1}] [{audit 3 3}] [{audit export e1 1 1}]}" {
				t.Errorf("/stats: %s in %s", got, body)
			}
		})
	}
}

// standstill makes a waiter wait until it is over.
type standstill struct{ begun, over chan struct{} }

// waiter is a user's actor, which is stuck while it waits.
type waiter struct{ waits int }

func (w *waiter) Receive(ctx actor.Context) {
	if s, ok := ctx.Message().(*standstill); ok {
		w.waits++
		close(s.begun)
		<-s.over
	}
}

func (w *waiter) Inspect(in *supervisor.Inspection) { in.Int("waits", w.waits) }

// Promise: diagnostics show a user's actors, too, and one that is stuck holds up
// nobody who looks: it is shown as silent, and the others are shown as ever.
func TestDiagnosticsOfAStuckActor(t *testing.T) {
	rt := harness.OrderlyRuntime(t, penstock.Diagnostics("127.0.0.1:0"))
	sys := rt.Engine().System()
	pid, err := sys.Root.SpawnNamed(supervisor.Props(func() actor.Actor { return &waiter{} }), "waiter")
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		ID         string
		Attributes []struct{ Name, Value string }
		Silent     float64 `json:"silent_ms"`
	}
	look := func() (waiter row, silent int) {
		_, body := ask(t, rt.DiagnosticsAddr(), "/actors", "")
		var tree struct{ Actors []row }
		if err := json.Unmarshal(body, &tree); err != nil {
			t.Fatal(err)
		}
		for _, a := range tree.Actors {
			if a.ID == pid.Id {
				waiter = a
			}
			if a.Silent > 0 {
				silent++
			}
		}
		return waiter, silent
	}
	s := &standstill{begun: make(chan struct{}), over: make(chan struct{})}
	sys.Root.Send(pid, s)
	<-s.begun // a look overtakes what is queued
	if w, silent := look(); w.Silent < 1000 || len(w.Attributes) != 0 || silent != 1 {
		t.Errorf("stuck: %+v, %d are silent", w, silent)
	}
	if w, _ := look(); w.Silent < 1000 {
		t.Errorf("stuck, and seen again: %+v", w)
	}
	close(s.over)
	if w, _ := look(); w.Silent != 0 || len(w.Attributes) != 1 || w.Attributes[0].Value != "1" {
		t.Errorf("after it went on: %+v", w)
	}
	if err := supervisor.Stop(t.Context(), sys, pid); err != nil {
		t.Error(err)
	}
}

func TestDiagnosticsKeepsToThisMachine(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":0", "10.0.0.1:80", "example.com:80", "unix://relative", "nonsense", "127.0.0.1"} {
		_, err := penstock.Start(t.Context(), penstock.EtcdConfig(etcd()), penstock.Diagnostics(addr))
		if !errors.Is(err, penstock.ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", addr, err)
		}
	}
	rt := harness.OrderlyRuntime(t, penstock.Diagnostics("localhost:0"))
	for host, want := range map[string]int{"": 200, "localhost": 200, "[::1]:9": 200, "evil.example:80": 403, "10.1.2.3": 403} {
		if code, body := ask(t, rt.DiagnosticsAddr(), "/actors", host); code != want {
			t.Errorf("host %q: %d, want %d: %s", host, code, want, body)
		}
	}
}

func TestDiagnosticsAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = penstock.Start(t.Context(), penstock.EtcdConfig(etcd()), penstock.Prefix("/"+t.Name()),
		penstock.Diagnostics(l.Addr().String()))
	if !errors.Is(err, penstock.ErrAddrInUse) {
		t.Fatalf("got %v, want ErrAddrInUse", err)
	}
}

func TestDiagnosticsReplacesADeadSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.sock")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false)
	dead.Close()
	rt := harness.OrderlyRuntime(t, penstock.Diagnostics("unix://"+path))
	if code, body := ask(t, rt.DiagnosticsAddr(), "/stats", ""); code != http.StatusOK {
		t.Fatalf("%d: %s", code, body)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("socket: %v, %v", info.Mode(), err)
	}
	_, err = penstock.Start(t.Context(), penstock.EtcdConfig(etcd()), penstock.Prefix("/"+t.Name()),
		penstock.Diagnostics("unix://"+path))
	if !errors.Is(err, penstock.ErrAddrInUse) {
		t.Errorf("a live socket was taken over: %v", err)
	}
}
