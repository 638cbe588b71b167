// Command service is an HTTP service that embeds Penstock. Orders come in by
// POST /orders and are sent; a supervised handler writes them to a ledger;
// GET /orders shows it. Start it twice and the two share the work.
//
//	curl -d '{"id":"a1","item":"tea","quantity":2}' http://127.0.0.1:8080/orders
//	curl http://127.0.0.1:8080/orders
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/penstock-io/penstock"
)

func main() {
	etcd := flag.String("etcd", "127.0.0.1:2379", "address of etcd")
	listen := flag.String("listen", "tcp://127.0.0.1:0", "where other instances connect to")
	address := flag.String("http", "127.0.0.1:8080", "address for HTTP")
	flag.Parse()

	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer cancel()
	if err := run(ctx, logger, *etcd, *listen, *address); err != nil {
		logger.Error("service failed", "err", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, then drains: HTTP first, so that nothing new
// comes, then Penstock, which delivers and handles what was accepted.
func run(ctx context.Context, logger *slog.Logger, etcd, listen, address string) (err error) {
	rt, err := penstock.Start(ctx, penstock.Etcd(etcd), penstock.Listen(listen), penstock.Logger(logger))
	if err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		err = errors.Join(err, rt.Stop(stopping))
	}()

	orders, err := rt.Register(ctx, "orders")
	if err != nil {
		return err
	}
	member, err := rt.Join(ctx, "orders", "ledger", penstock.Concurrency(4), penstock.Window(64))
	if err != nil {
		return err
	}
	books := newLedger()
	consumed := make(chan error, 1)
	go func() {
		// Not ctx: a signal must not cut the handlers off. Stop ends them.
		consumed <- member.Consume(context.Background(), books.handle)
	}()

	ln, err := net.Listen("tcp", address)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: routes(orders, books), ReadHeaderTimeout: 5 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	logger.Info("ready", "http", ln.Addr().String())

	select {
	case <-ctx.Done():
		logger.Info("draining")
		ending, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		return srv.Shutdown(ending)
	case err := <-served:
		return err
	case err := <-consumed:
		return errors.Join(err, srv.Close())
	}
}
