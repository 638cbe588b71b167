package penstock

// The diagnostics listener: what a runtime is doing, for whoever is on the same
// machine. It is an actor of the runtime's system, so it is part of what
// it shows.

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/asynkron/protoactor-go/actor"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/supervisor"
)

// Diagnostics serves what the runtime is doing over HTTP, at an address of this
// machine: a loopback host:port such as 127.0.0.1:0, or unix:///path/of/socket.
// Start refuses any other address with ErrInvalid, because nobody is authenticated:
// whoever can connect can read the names of destinations, groups and members, the
// addresses of peers and the text of errors. Nothing can be changed there, and no
// message or secret is shown.
//
//	GET /actors   every actor: state, restarts, queue length, mailbox and
//	              processing time, attributes, last error; see supervisor.Tree
//	GET /stats    every pipe, member, topic and subscription with its counters,
//	              and event counts
//	GET /livez    whether the runtime is live, and GET /readyz whether it is
//	              ready; see HealthHandler
//
// The first two return JSON. The listener works from Start until Stop has drained; an
// address that cannot be bound fails Start with ErrAddrInUse or the system's
// error. A socket file is readable and writable by its owner only; one that a
// dead process has left is replaced.
func Diagnostics(addr string) StartOption {
	return startOption(func(s *startSettings) { s.diagnostics = addr })
}

// DiagnosticsAddr returns where the diagnostics listener is, with the port it got:
// host:port, or unix:///path. It is empty without the option Diagnostics.
func (r *Runtime) DiagnosticsAddr() string {
	if r.diagnostics == nil {
		return ""
	}
	return r.diagnostics.where.String()
}

// diagnosticsPlace is an address that diagnostics may be served at.
type diagnosticsPlace struct{ network, address string }

func (p diagnosticsPlace) String() string {
	if p.network == "unix" {
		return "unix://" + p.address
	}
	return p.address
}

// parseDiagnostics takes the addresses that only this machine can reach.
func parseDiagnostics(addr string) (diagnosticsPlace, error) {
	fault := func(why string) (diagnosticsPlace, error) {
		return diagnosticsPlace{}, fmt.Errorf("diagnostics at %q: %s: %w", addr, why, ErrInvalid)
	}
	if path, ok := strings.CutPrefix(addr, "unix://"); ok {
		if !strings.HasPrefix(path, "/") {
			return fault("want unix:// and an absolute path, as in unix:///run/app.sock")
		}
		return diagnosticsPlace{"unix", path}, nil
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fault("want host:port or unix:///path")
	}
	if host == "localhost" {
		host = "127.0.0.1"
	}
	if ip, err := netip.ParseAddr(host); err != nil || !ip.IsLoopback() {
		return fault("anybody may read it, so it must be a loopback address or a unix socket")
	}
	return diagnosticsPlace{"tcp", net.JoinHostPort(host, port)}, nil
}

// listen binds the place and returns it with the port that was chosen.
func (p diagnosticsPlace) listen() (net.Listener, diagnosticsPlace, error) {
	l, err := net.Listen(p.network, p.address)
	if p.network == "unix" && errors.Is(err, syscall.EADDRINUSE) && deserted(p.address) {
		if err = os.Remove(p.address); err == nil {
			l, err = net.Listen(p.network, p.address)
		}
	}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, p, fmt.Errorf("diagnostics at %s: %w: %w", p, ErrAddrInUse, err)
	case err != nil:
		return nil, p, fmt.Errorf("diagnostics at %s: %w", p, err)
	}
	if p.network == "unix" {
		if err := os.Chmod(p.address, 0o600); err != nil {
			return nil, p, errors.Join(fmt.Errorf("diagnostics at %s: %w", p, err), l.Close())
		}
		return l, p, nil
	}
	p.address = l.Addr().String()
	return l, p, nil
}

// deserted reports whether a path is a socket that nobody listens at any more.
func deserted(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSocket == 0 {
		return false
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// diagnosticsServer is what the incarnations of the actor share.
type diagnosticsServer struct {
	where   diagnosticsPlace
	handler http.Handler
	pid     *actor.PID
	// bound is for the first incarnation; later ones bind again.
	bound atomic.Pointer[net.Listener]
}

func startDiagnostics(engine *actors.Engine, place diagnosticsPlace) (*diagnosticsServer, error) {
	l, where, err := place.listen()
	if err != nil {
		return nil, err
	}
	d := &diagnosticsServer{where: where, handler: diagnosticsHandler(engine)}
	d.bound.Store(&l)
	d.pid, err = engine.System().Root.SpawnNamed(
		supervisor.Props(func() actor.Actor { return &diagnostics{server: d} }), supervisor.Name("diagnostics"))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("diagnostics: %w", err), l.Close())
	}
	return d, nil
}

func (d *diagnosticsServer) stop(ctx context.Context, sys *actor.ActorSystem) error {
	if d == nil {
		return nil
	}
	return supervisor.Stop(ctx, sys, d.pid)
}

// serve handles requests until srv is closed. It runs hosted.
func (d *diagnosticsServer) serve(srv *http.Server) error {
	var l net.Listener
	if first := d.bound.Swap(nil); first != nil {
		l = *first
	} else {
		var err error
		if l, _, err = d.where.listen(); err != nil {
			return err
		}
	}
	if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("diagnostics at %s: %w", d.where, err)
	}
	return nil
}

// diagnostics is the actor around the server: it serves until it is stopped.
type diagnostics struct {
	server *diagnosticsServer
	host   supervisor.Host
}

func (a *diagnostics) Receive(ctx actor.Context) {
	msg, mine := a.host.Open(ctx.Message())
	if !mine {
		return
	}
	switch m := msg.(type) {
	case *actor.Started:
		a.started(ctx)
	case *supervisor.Ended:
		if m.Err != nil {
			supervisor.Fail(ctx, m.Err)
		}
	case *actor.Stopping, *actor.Restarting:
		a.host.End()
	}
}

func (a *diagnostics) started(ctx actor.Context) {
	a.host.Begin(ctx)
	d := a.server
	srv := &http.Server{Handler: d.handler, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	a.host.Run("serve", func(context.Context) error { return d.serve(srv) })
	a.host.Run("close", func(ctx context.Context) error {
		<-ctx.Done()
		srv.Close()
		return nil
	})
}

// What the listener returns. Fields are added, never renamed.
type (
	actorsAnswer struct {
		Actors []actorAnswer `json:"actors"`
	}
	actorAnswer struct {
		ID        string    `json:"id"`
		Parent    string    `json:"parent,omitempty"`
		Type      string    `json:"type"`
		State     string    `json:"state"`
		Restarts  int       `json:"restarts"`
		Queue     int       `json:"queue"`
		Since     time.Time `json:"since"`
		LastError string    `json:"last_error,omitempty"`
		// In milliseconds, which may be fractions.
		Mailbox    float64           `json:"mailbox_ms"`
		Processing float64           `json:"processing_ms,omitempty"`
		Longest    float64           `json:"longest_ms,omitempty"`
		Sampled    int               `json:"sampled"`
		Silent     float64           `json:"silent_ms,omitempty"`
		Attributes []attributeAnswer `json:"attributes,omitempty"`
	}
	attributeAnswer struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	statsAnswer struct {
		Pipes         []pipeAnswer         `json:"pipes"`
		Members       []memberAnswer       `json:"members"`
		Topics        []topicAnswer        `json:"topics"`
		Subscriptions []subscriptionAnswer `json:"subscriptions"`
		Registry      registryAnswer       `json:"registry"`
		Events        map[string]uint64    `json:"events"`
	}
	registryAnswer struct {
		Keys     int    `json:"keys"`
		Troubled int    `json:"troubled"`
		Refusals uint64 `json:"refusals"`
		Delays   uint64 `json:"delays"`
	}
	pipeAnswer struct {
		Destination  string `json:"destination"`
		Group        string `json:"group"`
		Links        int    `json:"links"`
		Pending      int    `json:"pending"`
		PendingBytes int    `json:"pending_bytes"`
		Accepted     uint64 `json:"accepted"`
		Sent         uint64 `json:"sent"`
		Acked        uint64 `json:"acked"`
		Nacked       uint64 `json:"nacked"`
		Redelivered  uint64 `json:"redelivered"`
		Released     uint64 `json:"released"`
		Died         uint64 `json:"died"`
		Rejected     uint64 `json:"rejected"`
		Dropped      uint64 `json:"dropped"`
		DeadLettered uint64 `json:"dead_lettered"`
	}
	memberAnswer struct {
		Destination string `json:"destination"`
		Group       string `json:"group"`
		Member      string `json:"member"`
		Links       int    `json:"links"`
		Waiting     int    `json:"waiting"`
		Delivered   uint64 `json:"delivered"`
	}
	topicAnswer struct {
		Topic       string `json:"topic"`
		Records     uint64 `json:"records"`
		Bytes       uint64 `json:"bytes"`
		Appends     uint64 `json:"appends"`
		Committed   uint64 `json:"committed"`
		Failed      uint64 `json:"failed"`
		QueuedBytes int64  `json:"queued_bytes"`
	}
	subscriptionAnswer struct {
		Topic        string `json:"topic"`
		Group        string `json:"group"`
		Member       string `json:"member"`
		Partitions   int    `json:"partitions"`
		FetchedBytes int    `json:"fetched_bytes"`
		// In records, and the age of the oldest in milliseconds.
		Lag          int64   `json:"lag"`
		LagAge       float64 `json:"lag_age_ms"`
		Finished     uint64  `json:"finished"`
		Failed       uint64  `json:"failed"`
		DeadLettered uint64  `json:"dead_lettered"`
		Commits      uint64  `json:"commits"`
		Lost         uint64  `json:"lost"`
		Lent         int     `json:"lent"`
		Died         uint64  `json:"died"`
	}
)

func answerOfTree(tree []supervisor.Info) actorsAnswer {
	a := actorsAnswer{Actors: make([]actorAnswer, 0, len(tree))}
	for _, i := range tree {
		row := actorAnswer{
			ID: i.ID, Parent: i.Parent, Type: i.Type, State: i.State,
			Restarts: i.Restarts, Queue: i.Queue, Since: i.Since.UTC(), LastError: i.LastError,
			Mailbox: inMs(i.Mailbox), Processing: inMs(i.Processing), Longest: inMs(i.Longest),
			Sampled: i.Sampled, Silent: inMs(i.Silent),
		}
		for _, at := range i.Attributes {
			row.Attributes = append(row.Attributes, attributeAnswer{at.Name, at.Value})
		}
		a.Actors = append(a.Actors, row)
	}
	return a
}

// inMs is d in milliseconds, to the microsecond.
func inMs(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func answerOfStats(s Stats) statsAnswer {
	a := statsAnswer{
		Pipes: make([]pipeAnswer, 0, len(s.Pipes)), Members: make([]memberAnswer, 0, len(s.Members)), Events: s.Events,
		Topics: make([]topicAnswer, 0, len(s.Topics)), Subscriptions: make([]subscriptionAnswer, 0, len(s.Subscriptions)),
	}
	a.Registry = registryAnswer{Keys: s.Registry.Keys, Troubled: s.Registry.Troubled, Refusals: s.Registry.Refusals, Delays: s.Registry.Delays}
	for _, p := range s.Pipes {
		a.Pipes = append(a.Pipes, pipeAnswer{
			Destination: p.Destination, Group: p.Group, Links: p.Links, Pending: p.Pending, PendingBytes: p.PendingBytes,
			Accepted: p.Accepted, Sent: p.Sent, Acked: p.Acked, Nacked: p.Nacked,
			Redelivered: p.Redelivered, Released: p.Released, Died: p.Died, Rejected: p.Rejected, Dropped: p.Dropped, DeadLettered: p.DeadLettered,
		})
	}
	for _, m := range s.Members {
		a.Members = append(a.Members, memberAnswer{
			Destination: m.Destination, Group: m.Group, Member: m.Member,
			Links: m.Links, Waiting: m.Waiting, Delivered: m.Delivered,
		})
	}
	for _, t := range s.Topics {
		a.Topics = append(a.Topics, topicAnswer{
			Topic: t.Topic, Records: t.Records, Bytes: t.Bytes, Appends: t.Appends,
			Committed: t.Committed, Failed: t.Failed, QueuedBytes: t.QueuedBytes,
		})
	}
	for _, u := range s.Subscriptions {
		a.Subscriptions = append(a.Subscriptions, subscriptionAnswer{
			Topic: u.Topic, Group: u.Group, Member: u.Member, Partitions: u.Partitions, FetchedBytes: u.FetchedBytes, Lag: u.Lag, LagAge: inMs(u.LagAge),
			Finished: u.Finished, Failed: u.Failed, DeadLettered: u.DeadLettered, Commits: u.Commits, Lost: u.Lost,
			Lent: u.Lent, Died: u.Died,
		})
	}
	return a
}

func diagnosticsHandler(engine *actors.Engine) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /actors", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, http.StatusOK, answerOfTree(engine.Tree()))
	})
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) {
		answerJSON(w, http.StatusOK, answerOfStats(engine.Stats()))
	})
	handleHealth(mux, engine)
	return localOnly(mux)
}

// localOnly refuses what a page in a browser of this machine could ask under a
// name of its own that resolves to the loopback address.
func localOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if host != "localhost" && (err != nil || !ip.IsLoopback()) {
			http.Error(w, "ask by a loopback address", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func answerJSON[T actorsAnswer | statsAnswer | healthAnswer](w http.ResponseWriter, status int, answer T) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	_ = enc.Encode(answer) // the reader went away: nobody is left to tell
}
