package cli

// The runtime or the client of etcd that a command works with.

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/discovery"
)

// Settings returns where etcd is, and the configuration of its clients. It asks for
// a password that is missing.
func (a *App) Settings() (EtcdSettings, clientv3.Config, error) {
	s, err := a.Etcd.settle(a.env)
	if err != nil {
		return s, clientv3.Config{}, err
	}
	cfg, err := s.config(a.askPassword)
	return s, cfg, err
}

// Start starts a runtime, which has --etcd-timeout to find etcd. It is to be stopped
// with Stop.
func (a *App) Start(ctx context.Context, opts ...penstock.StartOption) (*penstock.Runtime, error) {
	s, cfg, err := a.Settings()
	if err != nil {
		return nil, err
	}
	opts = append([]penstock.StartOption{penstock.EtcdConfig(cfg), penstock.Prefix(s.Prefix)}, opts...)
	if l := a.Logger(); l != nil {
		opts = append(opts, penstock.Logger(l))
	}
	starting, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	rt, err := penstock.Start(starting, opts...)
	if err != nil {
		return nil, Explain(ctx, err, s.Endpoints)
	}
	if addr := rt.DiagnosticsAddr(); addr != "" {
		a.Say("diagnostics at %s", addr)
	}
	return rt, nil
}

// WithRuntime starts a runtime for one question and stops it; etcd has
// --etcd-timeout to reply.
func (a *App) WithRuntime(ctx context.Context, ask func(ctx context.Context, rt *penstock.Runtime) error) error {
	rt, err := a.Start(ctx)
	if err != nil {
		return err
	}
	asking, cancel := context.WithTimeout(ctx, a.Etcd.Timeout)
	defer cancel()
	return errors.Join(ask(asking, rt), a.Stop(ctx, rt))
}

// Work starts a runtime for what takes as long as there are records, until ctx ends, and
// stops it.
func (a *App) Work(ctx context.Context, work func(ctx context.Context, rt *penstock.Runtime) error) error {
	rt, err := a.Start(ctx)
	if err != nil {
		return err
	}
	return errors.Join(work(ctx, rt), a.Stop(ctx, rt))
}

// Stop stops a runtime in order. It has DrainFor, also after the end of ctx.
func (a *App) Stop(ctx context.Context, rt *penstock.Runtime) error {
	stopping, cancel := Finishing(ctx)
	defer cancel()
	return rt.Stop(stopping)
}

// Client returns a client of etcd, for commands that need no runtime. The caller
// closes it.
func (a *App) Client() (EtcdSettings, *clientv3.Client, error) {
	s, cfg, err := a.Settings()
	if err != nil {
		return s, nil, err
	}
	c, err := discovery.NewClient(cfg)
	return s, c, Explain(context.Background(), err, s.Endpoints)
}

// Explain returns err with what to do about it where etcd did not reply. A signal
// that came first is no fault of etcd's.
func Explain(ctx context.Context, err error, endpoints []string) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), ErrTimeout) && errors.Is(err, penstock.ErrUnavailable):
		return &unreachableError{endpoints, err} // --timeout was shorter than --etcd-timeout
	case ctx.Err() != nil:
		return Incompletef("ended before it began: %v", context.Cause(ctx))
	case errors.Is(err, penstock.ErrUnavailable):
		return &unreachableError{endpoints, err}
	}
	return err
}

// DiagnosticsFlag adds the flag --diagnostics.
func DiagnosticsFlag(cmd *cobra.Command, addr *string) {
	cmd.Flags().StringVar(addr, "diagnostics", "", "serve what this process does at a loopback `address` or unix:///path, for \"penstock actors\"")
}

// DiagnosticsOption returns the option of a runtime that --diagnostics asks for.
func DiagnosticsOption(addr string) []penstock.StartOption {
	if addr == "" {
		return nil
	}
	return []penstock.StartOption{penstock.Diagnostics(addr)}
}

// troubleAgain is the time after which a trouble that persists is said again.
const troubleAgain = 30 * time.Second

// Trouble is what an event reports; that of an event which reports none is the zero one.
type Trouble struct {
	What string // which trouble it is: the same one is said each half minute at most
	Text string // what there is to know about it
}

// ReportTroubles says what of makes of events until rt stops. With --verbose the log has
// it, and nothing is said.
func (a *App) ReportTroubles(rt *penstock.Runtime, of func(penstock.Event) Trouble) {
	if a.Verbose > 0 {
		return
	}
	events := rt.Events(context.Background())
	go func() {
		said := make(map[string]time.Time)
		for e := range events {
			t := of(e)
			if t == (Trouble{}) || time.Since(said[t.What]) < troubleAgain {
				continue
			}
			said[t.What] = time.Now()
			a.Say("%s: %s", t.What, t.Text)
		}
	}()
}
