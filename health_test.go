package penstock_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// probed asks a handler, and returns the status and the body.
func probed(t *testing.T, h http.Handler, path, accept string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	if accept != "" {
		r.Header.Set("Accept", accept)
	}
	h.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	return w.Code, string(body)
}

// Promise: a runtime is ready once all that it was asked to be is established, with
// members that have no sender and subscriptions that have no partition. Health shows
// the links and partitions. Once Stop has begun it is not ready, and live until it is over.
func TestHealth(t *testing.T) {
	rt := harness.Runtime(t, penstocktest.Space(t))
	ctx := harness.Context(t)
	probe := rt.HealthHandler()
	if h := rt.Health(ctx); !h.Live || !h.Ready || len(h.Reasons) != 0 || h.Session.State != penstock.SessionStateAlive || h.Session.Lease == 0 || !h.Etcd.Reachable {
		t.Fatalf("fresh: %+v", h)
	}
	harness.Join(t, rt, "nobody", "sends")
	waits, err := rt.Register(ctx, "waits", penstock.RequireGroups("ledger"))
	if err != nil {
		t.Fatal(err)
	}
	if status, body := probed(t, probe, "/readyz", ""); status != http.StatusOK || !strings.Contains(body, `[-]groups/waits not counted: Send waits for the required groups ["ledger"]`) {
		t.Errorf("without a required group: %d %s", status, body)
	}
	if err := rt.DeclareGroup(ctx, "waits", "ledger"); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, "the group is there", func() bool {
		_, body := probed(t, probe, "/readyz", "")
		return strings.Contains(body, "[+]groups/waits ok\n")
	})
	if err := waits.Unregister(ctx); err != nil {
		t.Fatal(err)
	}
	orders := harness.Register(t, rt, "orders")
	billing := harness.Join(t, rt, "orders", "billing")
	audit, err := rt.CreateTopic(ctx, "audit", penstock.TopicConfig{Partitions: 1})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second one gets no partition
		if _, err := audit.Subscribe(ctx, "export"); err != nil {
			t.Fatal(err)
		}
	}
	harness.Eventually(t, "the link is there", func() bool {
		h := rt.Health(ctx)
		return h.Ready && h.Destinations[0].Links == 1 && h.Destinations[0].Members == 1
	})
	h := rt.Health(ctx)
	if len(h.Destinations) != 1 || len(h.Members) != 2 || len(h.Subscriptions) != 2 {
		t.Fatalf("%+v", h)
	}
	if m := h.Members; m[0].Destination != "nobody" || m[0].Senders != 0 || m[1].Links != 1 || m[1].Senders != 1 || m[0].State != penstock.RoleEstablished {
		t.Errorf("members: %+v", m)
	}
	if s := h.Subscriptions; s[0].Owned+s[1].Owned != 1 || s[0].Assigned+s[1].Assigned != 1 {
		t.Errorf("subscriptions: %+v", s)
	}
	if status, body := probed(t, probe, "/livez", ""); status != http.StatusOK || body != "[+]actors ok\nlivez check passed\n" {
		t.Errorf("livez: %d %q", status, body)
	}
	for _, how := range [][2]string{{"/readyz?format=json", ""}, {"/readyz", "application/json"}} {
		status, body := probed(t, probe, how[0], how[1])
		var got struct {
			Live, Ready bool
			Checks      []struct{ Name string }
			Session     struct{ State string }
			Members     []struct{ Group, State string }
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil || status != http.StatusOK || !got.Live || !got.Ready ||
			got.Session.State != "alive" || len(got.Members) != 2 || got.Members[1].State != "established" || len(got.Checks) != 8 {
			t.Errorf("%v: %d %v %s", how, status, err, body)
		}
	}

	// A handler holds Stop up.
	holding, release := make(chan struct{}), make(chan struct{})
	consumed, stopped := make(chan error, 1), make(chan error, 1)
	go func() {
		consumed <- billing.Consume(ctx, func(context.Context, penstock.Delivery) error {
			close(holding)
			<-release
			return nil
		})
	}()
	harness.Send(t, orders, 0, 1)
	<-holding
	go func() { stopped <- rt.Stop(ctx) }()
	harness.Eventually(t, "Stop is heard of", func() bool { return !rt.Health(ctx).Ready })
	if h := rt.Health(ctx); !h.Live || len(h.Reasons) != 1 || h.Reasons[0] != "stop: Stop was called" {
		t.Errorf("while Stop is under way: %+v", h)
	}
	close(release)
	for _, over := range []chan error{consumed, stopped} {
		if err := <-over; err != nil {
			t.Fatal(err)
		}
	}
	if h := rt.Health(ctx); h.Live || h.Ready || !strings.Contains(h.Reasons[0], "the runtime was stopped") {
		t.Errorf("stopped: %+v", h)
	}
	if status, body := probed(t, probe, "/readyz", ""); status != http.StatusServiceUnavailable ||
		!strings.Contains(body, "[-]actors failed: the runtime was stopped\n[-]stop failed: Stop was called\n") || !strings.HasSuffix(body, "readyz check failed\n") {
		t.Errorf("readyz: %d %q", status, body)
	}
	if status, _ := probed(t, probe, "/livez", ""); status != http.StatusServiceUnavailable {
		t.Errorf("livez of a stopped runtime: %d", status)
	}
}
