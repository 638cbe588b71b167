package main

// The API: an order that it has accepted survives.

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/penstock-io/penstock"
)

const (
	ordersName  = "orders"  // the destination
	auditName   = "audit"   // the topic of all orders
	refusedName = "refused" // the topic of the orders that nobody will bill
)

// order is what travels. A client that has no answer sends it again under the same id.
type order struct {
	ID       string `json:"id"`
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
}

// typed makes messages of orders, and orders of messages.
var typed = penstock.Typed[order]{Codec: penstock.JSON[order](), Key: func(o order) []byte { return []byte(o.ID) }}

// api registers as a sender of orders, and serves POST /orders.
func (s *service) api(ctx context.Context) (func() error, error) {
	refused, err := s.rt.EnsureTopic(ctx, refusedName, penstock.TopicConfig{})
	if err != nil {
		return nil, err
	}
	orders, err := s.rt.Register(ctx, ordersName,
		// Whoever starts first: no order is sent before both can get it.
		penstock.RequireGroups("billing", "audit"),
		penstock.RetryDelay(100*time.Millisecond, 2*time.Second),
		penstock.DeadLetters(func(ctx context.Context, d penstock.DeadLetter) error {
			m := d.Message
			m.Headers = append(m.Headers, penstock.Header{Name: "cause", Value: []byte(d.Cause)})
			_, _, err := refused.Put(ctx, m)
			return err
		}))
	if err != nil {
		return nil, err
	}
	s.mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		var o order
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&o); err != nil || o.ID == "" {
			http.Error(w, "want an order with an id", http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), s.patience)
		defer cancel()
		switch err := place(ctx, typed.Destination(orders), o); {
		case err == nil:
			w.WriteHeader(http.StatusAccepted)
		case errors.Is(err, penstock.ErrReject):
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		case errors.Is(err, penstock.ErrDeadLettered): // given up after MaxAttempts, or MaxDeaths
			http.Error(w, err.Error(), http.StatusInternalServerError)
		default:
			// It may yet be billed: the client has to ask again, with the same id.
			w.Header().Set("Retry-After", "1")
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	return nil, nil
}

// place sends an order and waits until billing and audit have it. What is only queued
// would be lost with this process, so Send's nil is too early to answer a client.
func place(ctx context.Context, orders penstock.TypedDestination[order], o order) error {
	settled := make(chan error, 1) // so that the callback never waits
	if err := orders.SendAsync(ctx, o, func(err error) { settled <- err }); err != nil {
		return err
	}
	select {
	case err := <-settled:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
