package suite

// Where the etcd of a run is: in this process, in another, or in three others.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/benchmarks/internal/host"
	"github.com/penstock-io/penstock/benchmarks/internal/part"
	"github.com/penstock-io/penstock/benchmarks/internal/results"
	"github.com/penstock-io/penstock/benchmarks/scenario"
	"github.com/penstock-io/penstock/discovery/embedded"
)

// place is where the etcd of a run is.
type place string

const (
	inside place = "inside" // this process
	apart  place = "one"    // a process of its own
	three  place = "three"  // three processes, on one disk
)

// store is an etcd.
type store struct {
	endpoints []string
	inner     *embedded.Server
	parts     []*part.Process
	dir       string
}

// openStore starts an etcd that is empty. One in processes of its own ends with ctx, too.
func openStore(ctx context.Context, at place, sync bool) (_ *store, err error) {
	s := &store{}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	if at == inside {
		var opts []embedded.Option
		if !sync {
			opts = append(opts, embedded.UnsafeNoFsync())
		}
		if s.inner, err = embedded.Start(ctx, "", opts...); err == nil {
			s.endpoints = []string{s.inner.Endpoint()}
		}
		return s, err
	}
	if s.dir, err = os.MkdirTemp("", "penstock-bench-"); err != nil {
		return s, err
	}
	specs := []part.Spec{{}}
	if at == three {
		var cluster []string
		specs = nil
		for i := range 3 {
			peer, err := freeAddress()
			if err != nil {
				return s, err
			}
			name := fmt.Sprintf("e%d", i)
			cluster = append(cluster, name+"=http://"+peer)
			specs = append(specs, part.Spec{Member: name, Peer: peer})
		}
		for i := range specs {
			specs[i].Cluster = strings.Join(cluster, ",")
		}
	}
	for i, spec := range specs {
		spec.Role, spec.Dir, spec.Listen, spec.NoSync = part.Etcd, filepath.Join(s.dir, fmt.Sprint(i)), "127.0.0.1:0", !sync
		p, err := part.Start(ctx, spec)
		if err != nil {
			return s, err
		}
		s.parts = append(s.parts, p)
	}
	for _, p := range s.parts {
		endpoint, err := p.Ready(ctx)
		if err != nil {
			return s, err
		}
		s.endpoints = append(s.endpoints, endpoint)
	}
	return s, nil
}

// freeAddress is one that nobody listens at.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}

func (s *store) config() clientv3.Config {
	return clientv3.Config{Endpoints: s.endpoints, DialTimeout: 5 * time.Second}
}

func (s *store) start(prefix string) scenario.Start { return scenario.Local(s.config(), prefix) }

func (s *store) close() error {
	var errs []error
	if s.inner != nil {
		errs = append(errs, s.inner.Close())
	}
	for _, p := range s.parts {
		errs = append(errs, p.Close())
	}
	if s.dir != "" {
		errs = append(errs, os.RemoveAll(s.dir))
	}
	return errors.Join(errs...)
}

// counts are those of all members.
func (s *store) counts(ctx context.Context) (sum host.EtcdCounts, err error) {
	for _, e := range s.endpoints {
		c, err := host.Etcd(ctx, e)
		if err != nil {
			return sum, err
		}
		sum.Fsyncs += c.Fsyncs
		sum.Requests += c.Requests
	}
	return sum, nil
}

// costing performs a run and adds what it cost etcd.
func (s *store) costing(ctx context.Context, run func() (results.Run, error)) (results.Run, error) {
	before, err := s.counts(ctx)
	if err != nil {
		return results.Run{System: "penstock"}, err
	}
	r, err := run()
	if err != nil {
		return r, err
	}
	after, err := s.counts(ctx)
	if err != nil {
		return r, err
	}
	r.Figures[results.Fsyncs] = after.Minus(before).Fsyncs / float64(max(1, r.Check.Sent))
	for _, p := range s.parts {
		r.Figures[results.EtcdRSS] += float64(host.RSS(p.PID()))
	}
	return r, nil
}
