package embedded

// Starting and stopping the server. etcd is a program more than a library: it
// waits without end on a locked directory, exits the process on damaged files and
// waits seconds for idle clients. Each of these is turned into an error, or
// into nothing, here.

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/penstock-io/penstock/messages"
)

// ErrLocked: another server, of this process or of another, uses the data
// directory.
var ErrLocked = errors.New("data directory is in use")

// portTries is how often a free port is looked for when somebody else took the
// one just found.
const portTries = 10

// Server is an etcd server in this process. Its methods are safe for
// concurrent use.
type Server struct {
	etcd     *embed.Etcd
	endpoint string
	dir      string
	remove   string // temporary directory to remove at Close
	grpc     *grpcServers
	failures *failures
	errs     chan error
	failed   chan struct{}
	closing  chan struct{}
	tended   chan struct{} // closed when it is not defragmented any more

	close    sync.Once
	closeErr error
}

// Start runs an etcd server that keeps its data in dir, which is made when it
// is missing. An empty dir means a temporary directory, removed at Close.
//
// It blocks until the server answers requests, or until ctx ends, which stops
// the server and yields ctx's error. ctx does not bound the server's life. The
// error wraps messages.ErrInvalid for a bad option, messages.ErrAddrInUse for
// a port that is taken, ErrLocked for a directory that is.
func Start(ctx context.Context, dir string, opts ...Option) (*Server, error) {
	o := defaults()
	for _, opt := range opts {
		opt.apply(&o)
	}
	fail := func(err error) (*Server, error) {
		return nil, fmt.Errorf("start embedded etcd: %w", err)
	}
	if err := o.validate(); err != nil {
		return fail(err)
	}
	path, temporary, err := makeDir(dir)
	if err != nil {
		return fail(fmt.Errorf("create data directory: %w", err))
	}
	s, err := o.start(ctx, path)
	switch {
	case err == nil && temporary:
		s.remove = path
	case err != nil && temporary:
		err = errors.Join(err, os.RemoveAll(path))
	}
	if err != nil {
		return fail(err)
	}
	return s, nil
}

func (o options) start(ctx context.Context, dir string) (*Server, error) {
	if err := checkDatabase(dir); err != nil {
		return nil, err
	}
	listen, err := parseAddress(o.listen)
	if err != nil {
		return nil, err
	}
	for try := 1; ; try++ {
		if err := ctx.Err(); err != nil {
			return nil, context.Cause(ctx)
		}
		bound, err := listen.free()
		if err != nil {
			return nil, err
		}
		s, err := o.run(ctx, dir, bound)
		if err == nil || !errors.Is(err, messages.ErrAddrInUse) || listen.port != 0 || try == portTries {
			return s, err
		}
	}
}

// run starts one server and waits until it is ready.
func (o options) run(ctx context.Context, dir string, listen address) (*Server, error) {
	failures := newFailures()
	cfg, servers, err := o.config(dir, listen, failures)
	if err != nil {
		return nil, err
	}
	etcd, err := startEtcd(cfg)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%w: %w; stop what listens there, or choose another address with Listen or Peer", messages.ErrAddrInUse, err)
	}
	if err != nil {
		return nil, err
	}
	s := &Server{
		etcd: etcd, endpoint: listen.advertised().String(), dir: dir, grpc: servers, failures: failures,
		errs: make(chan error, 1), failed: make(chan struct{}), closing: make(chan struct{}), tended: make(chan struct{}),
	}
	go s.watch()
	go s.tend(o.pace, o.quota, o.told)
	select {
	case <-etcd.Server.ReadyNotify():
		return s, nil
	case err := <-s.errs:
		return nil, errors.Join(fmt.Errorf("server stopped before it was ready: %w", err), s.Close())
	case <-ctx.Done():
		return nil, errors.Join(fmt.Errorf("server was not ready in time: %w", context.Cause(ctx)), s.Close())
	}
}

// config is etcd's configuration for a log of one member.
func (o options) config(dir string, listen address, failures *failures) (*embed.Config, *grpcServers, error) {
	cfg := embed.NewConfig()
	cfg.Name = "penstock"
	cfg.Dir = dir
	cfg.ListenClientUrls = []url.URL{{Scheme: "http", Host: listen.String()}}
	cfg.AdvertiseClientUrls = []url.URL{{Scheme: "http", Host: listen.advertised().String()}}

	// A server that stays alone needs an address for peers only as part of its
	// identity; it binds none.
	peer := address{host: "127.0.0.1", port: 2380}
	cfg.ListenPeerUrls = nil
	if o.peer != "" {
		p, err := parseAddress(o.peer)
		if err != nil {
			return nil, nil, err
		}
		if p, err = p.free(); err != nil {
			return nil, nil, err
		}
		peer = p
		cfg.ListenPeerUrls = []url.URL{{Scheme: "http", Host: p.String()}}
	}
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: peer.advertised().String()}}
	cfg.InitialCluster = cfg.Name + "=" + cfg.AdvertisePeerUrls[0].String()
	// A new directory is a new cluster with an id of its own, so that clients
	// notice when a wiped server comes back at the same address.
	cfg.InitialClusterToken = rand.Text()

	cfg.QuotaBackendBytes = o.quota
	cfg.SnapshotCount = 1000 // etcd's default keeps gigabytes of large batches in memory
	cfg.SnapshotCatchUpEntries = 100
	cfg.BackendBatchLimit = 256
	cfg.CompactionBatchLimit = 32
	cfg.WatchProgressNotifyInterval = 5 * time.Second
	cfg.BootstrapDefragThresholdMegabytes = 512
	cfg.AutoCompactionMode = embed.CompactorModePeriodic
	cfg.AutoCompactionRetention = o.history.String()
	cfg.UnsafeNoFsync = o.fsync == unsafe
	cfg.EnableGRPCGateway = false

	// A fatal log line ends the process in zap's default, and a panic in a
	// goroutine of etcd's does too; a library may not.
	log := o.log.WithOptions(zap.WithFatalHook(failures), zap.WithPanicHook(failures))
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)

	servers := &grpcServers{}
	cfg.ServiceRegister = servers.add
	o.tune(cfg)
	return cfg, servers, nil
}

// startEtcd turns a panic of etcd, its way to refuse damaged files, into an
// error.
func startEtcd(cfg *embed.Config) (e *embed.Etcd, err error) {
	defer func() {
		if p := recover(); p != nil {
			cause, ok := p.(error)
			if !ok {
				cause = fmt.Errorf("%v", p)
			}
			if do := advice(cause, cfg.Dir); do != "" {
				e, err = nil, fmt.Errorf("etcd gave up: %w%s", cause, do)
				return
			}
			e, err = nil, fmt.Errorf("etcd gave up on the data in %s: %w; restore the directory from a backup, or remove it", cfg.Dir, cause)
		}
	}()
	return embed.StartEtcd(cfg)
}

// checkDatabase looks at the database before etcd does: etcd would wait without
// end for a lock, and crash the process on a damaged file.
func checkDatabase(dir string) error {
	path := filepath.Join(dir, "member", "snap", "db")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: 200 * time.Millisecond})
	if errors.Is(err, berrors.ErrTimeout) {
		return fmt.Errorf("%w: %s is locked by a running server; stop it, or choose another directory", ErrLocked, path)
	}
	if err != nil {
		return fmt.Errorf("open database %s: %w; restore it from a backup, or remove the data directory", path, err)
	}
	return db.Close()
}

// Endpoint is the address that clients of this host connect to, host:port.
func (s *Server) Endpoint() string { return s.endpoint }

// Config is the configuration for clients of this server: a fresh copy, the
// caller's to change.
func (s *Server) Config() clientv3.Config {
	return clientv3.Config{Endpoints: []string{s.endpoint}, DialTimeout: 5 * time.Second}
}

// Err yields an error when the server fails by itself, and is closed by Close.
// That is whatever etcd would have ended its program for, as a full disk: the
// error wraps what etcd names as the cause, such as syscall.ENOSPC, and says what
// to do. The server serves nobody any more then; the program continues, and
// decides. What was answered before is on the disk. What comes once Close was
// called is no news.
func (s *Server) Err() <-chan error { return s.errs }

// watch waits for the server's failure, and for its Close.
func (s *Server) watch() {
	defer close(s.errs)
	var err error
	select {
	case err = <-s.etcd.Err():
	case err = <-s.failures.first:
	case <-s.etcd.Server.StopNotify():
		select {
		case err = <-s.failures.first: // which came before
		default:
		}
	case <-s.closing:
	}
	select {
	case <-s.closing: // it stops because it is closed
		return
	default:
	}
	if err == nil {
		err = errors.New("the server stopped")
	}
	s.errs <- fmt.Errorf("etcd gave up: %w%s", err, advice(err, s.dir))
	close(s.failed)
	// A call may stand in a goroutine that ended.
	go s.grpc.stop()
	<-s.closing
}

// How long a server may take to end: one that failed before is likely never to.
const (
	closeFor       = 30 * time.Second
	closeFailedFor = 3 * time.Second
)

// Close stops the server, cuts its clients off and, when the directory was
// temporary, removes it. It blocks until that is done, some tenths of a
// second. A server that failed may be unable to end: it is left behind after
// 3 s, with its files open, and the error says so. Calls after the first wait
// for it and return its result.
func (s *Server) Close() error {
	s.close.Do(func() {
		close(s.closing)
		// etcd would wait seconds for clients that keep streams open.
		ended := make(chan error, 1)
		go func() {
			s.grpc.stop()
			<-s.tended
			ended <- closeEtcd(s.etcd)
		}()
		within := closeFor
		select {
		case <-s.failed:
			within = closeFailedFor
		default:
		}
		limit := time.NewTimer(within)
		defer limit.Stop()
		var errs []error
		select {
		case err := <-ended:
			errs = append(errs, err)
		case <-limit.C:
			errs = append(errs, fmt.Errorf("it had not ended after %v, and keeps %s open until the program ends", within, s.dir))
		}
		if s.remove != "" {
			if err := os.RemoveAll(s.remove); err != nil {
				errs = append(errs, fmt.Errorf("remove temporary directory: %w", err))
			}
		}
		if err := errors.Join(errs...); err != nil {
			s.closeErr = fmt.Errorf("close embedded etcd: %w", err)
		}
	})
	return s.closeErr
}

// closeEtcd turns a panic of etcd at its end into an error.
func closeEtcd(e *embed.Etcd) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("etcd panicked: %v", p)
		}
	}()
	e.Close()
	return nil
}

// grpcServers collects the servers that etcd makes for its listeners.
type grpcServers struct {
	mu  sync.Mutex
	all []*grpc.Server
}

func (g *grpcServers) add(s *grpc.Server) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.all = append(g.all, s)
}

func (g *grpcServers) stop() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.all {
		s.Stop()
	}
}
