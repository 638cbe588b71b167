package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/penstock-io/penstock"
)

// order is what travels.
type order struct {
	ID       string `json:"id"`
	Item     string `json:"item"`
	Quantity int    `json:"quantity"`
}

// ledger is what this instance has handled.
type ledger struct {
	mu     sync.Mutex
	orders map[string]order
}

func newLedger() *ledger { return &ledger{orders: make(map[string]order)} }

// handle writes one order down. At-least-once means that an order may come
// twice, so it is written under its id. An error is tried again later, on this
// or another instance.
func (l *ledger) handle(_ context.Context, msg penstock.Delivery) error {
	var o order
	if err := json.Unmarshal(msg.Value, &o); err != nil {
		return fmt.Errorf("order %q: %w", msg.Key, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.orders[o.ID] = o
	return nil
}

// all lists the orders by id.
func (l *ledger) all() []order {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.orders), func(a, b order) int { return cmp.Compare(a.ID, b.ID) })
}

func routes(orders *penstock.Destination, books *ledger) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders", func(w http.ResponseWriter, r *http.Request) {
		var o order
		body := http.MaxBytesReader(w, r.Body, 64<<10)
		if err := json.NewDecoder(body).Decode(&o); err != nil || o.ID == "" {
			http.Error(w, "want an order with an id", http.StatusBadRequest)
			return
		}
		value, err := json.Marshal(o)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), 5*time.Second)
		defer cancel()
		err = orders.Send(ctx, penstock.Message{Key: []byte(o.ID), Value: value})
		switch {
		case err == nil:
			w.WriteHeader(http.StatusAccepted)
		case errors.Is(err, penstock.ErrTooLarge):
			http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		default:
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	})
	mux.HandleFunc("GET /orders", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(books.all())
	})
	return mux
}
