// Command shop is a small system on Penstock: an API that takes orders, billing, an
// audit log, and a projector that keeps a database in step with the log. Each is a
// process of this program, and each can be started any number of times. See README.md.
//
//	shop api|billing|audit|projector [-etcd host:port] [-http addr] [-db file] …
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	otelprometheus "go.opentelemetry.io/otel/exporters/prometheus"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/penstock-io/penstock"
)

// drainTime is what the end of a process may take, HTTP and Penstock each.
const drainTime = 15 * time.Second

// config is what the flags say. SHOP_ETCD and SHOP_DB in the environment are defaults.
type config struct {
	role     string
	etcd     string
	listen   string
	http     string
	db       string
	leaseTTL time.Duration
}

func parse(args []string) (config, error) {
	if len(args) == 0 {
		return config{}, errors.New("say what to be: shop api|billing|audit|projector")
	}
	c := config{role: args[0]}
	flags := flag.NewFlagSet("shop "+c.role, flag.ContinueOnError)
	flags.StringVar(&c.etcd, "etcd", env("SHOP_ETCD", "127.0.0.1:2379"), "address of etcd")
	flags.StringVar(&c.db, "db", env("SHOP_DB", "shop.db"), "file of the database")
	flags.StringVar(&c.listen, "listen", "tcp://127.0.0.1:0", "where members connect to the API")
	flags.StringVar(&c.http, "http", "127.0.0.1:0", "address of the probes, the metrics and the API")
	flags.DurationVar(&c.leaseTTL, "lease", 10*time.Second, "time until others take over from a process that died")
	return c, flags.Parse(args[1:])
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// service is what each role works with.
type service struct {
	rt       *penstock.Runtime
	db       *store
	mux      *http.ServeMux
	patience time.Duration // how long a client of the API waits
}

// roles begin to work, and return a loop that runs until Stop ends it, or nil.
var roles = map[string]func(s *service, ctx context.Context) (loop func() error, err error){
	"api":       (*service).api,
	"billing":   (*service).billing,
	"audit":     (*service).audit,
	"projector": (*service).projector,
}

func main() {
	cfg, err := parse(os.Args[1:])
	if err == nil {
		ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer cancel()
		err = run(ctx, cfg)
	}
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "shop:", err)
		os.Exit(1)
	}
}

// run works until ctx ends, then drains: HTTP first, so that nothing new comes, then
// Penstock, which delivers and handles what was accepted, then the database.
func run(ctx context.Context, cfg config) (err error) {
	begin := roles[cfg.role]
	if begin == nil {
		return fmt.Errorf("there is no role %q", cfg.role)
	}
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil)).With("role", cfg.role)

	s := &service{mux: http.NewServeMux(), patience: 5 * time.Second}
	if s.db, err = openStore(ctx, cfg.db); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.db.close()) }()

	s.rt, err = penstock.Start(ctx, penstock.Etcd(cfg.etcd), penstock.Listen(cfg.listen),
		penstock.LeaseTTL(cfg.leaseTTL), penstock.Logger(logger))
	if err != nil {
		return err
	}
	defer func() {
		stopping, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		err = errors.Join(err, s.rt.Stop(stopping))
	}()
	unmeasure, err := s.observe()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unmeasure()) }()

	// A runtime in which nothing has been registered yet is ready, so the probes come
	// after what there is to be ready for.
	loop, err := begin(s, ctx)
	if err != nil {
		return err
	}
	failed := make(chan error, 2) // one for the loop, one for the server
	if loop != nil {
		go func() { failed <- loop() }()
	}
	ln, err := net.Listen("tcp", cfg.http)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: s.mux, ReadHeaderTimeout: 5 * time.Second}
	go func() { failed <- srv.Serve(ln) }()
	logger.Info("ready", "http", ln.Addr().String())

	select {
	case <-ctx.Done():
		logger.Info("draining")
	case err = <-failed:
	case <-s.rt.Done():
		err = s.rt.Err()
	}
	ending, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	return errors.Join(err, srv.Shutdown(ending))
}

// observe serves /livez and /readyz for probes, and /metrics for Prometheus.
func (s *service) observe() (unmeasure func() error, err error) {
	registry := prometheus.NewRegistry()
	exporter, err := otelprometheus.New(otelprometheus.WithRegisterer(registry))
	if err != nil {
		return nil, err
	}
	registration, err := s.rt.Metrics(sdkmetric.NewMeterProvider(sdkmetric.WithReader(exporter)))
	if err != nil {
		return nil, err
	}
	health := s.rt.HealthHandler()
	s.mux.Handle("GET /livez", health)
	s.mux.Handle("GET /readyz", health)
	s.mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return registration.Unregister, nil
}
