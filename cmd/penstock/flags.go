package main

// The way to etcd: flags, then Penstock's variables, then those of etcdctl.

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/discovery"
)

const defaultEtcd = "127.0.0.1:2379"

// etcdFlags are the shared flags, as given; empty means not given.
type etcdFlags struct {
	endpoints         string
	cacert, cert, key string
	user              string
	prefix            string
	timeout           time.Duration
}

func (f *etcdFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.endpoints, "etcd", "", "etcd's `endpoints`, host:port, http(s)://host:port or unix://path, separated by commas (default "+defaultEtcd+"; env PENSTOCK_ETCD, ETCDCTL_ENDPOINTS)")
	fs.StringVar(&f.cacert, "etcd-cacert", "", "`file` with the CA that etcd's certificate is checked against (env ETCDCTL_CACERT)")
	fs.StringVar(&f.cert, "etcd-cert", "", "`file` with our certificate for etcd (env ETCDCTL_CERT)")
	fs.StringVar(&f.key, "etcd-key", "", "`file` with its key (env ETCDCTL_KEY)")
	fs.StringVar(&f.user, "etcd-user", "", "`user[:password]`; the password may be in ETCDCTL_PASSWORD instead, else it is asked for (env ETCDCTL_USER)")
	fs.DurationVar(&f.timeout, "etcd-timeout", 5*time.Second, "how long etcd may take to answer")
	fs.StringVar(&f.prefix, "prefix", "", "`namespace` of all keys (default "+actors.DefaultPrefix+"; env PENSTOCK_PREFIX)")
}

// etcdSettings are the flags after defaults and environment were applied.
type etcdSettings struct {
	endpoints         []string
	cacert, cert, key string
	user, password    string
	prefix            string
	timeout           time.Duration
}

// settle decides what counts. It opens nothing and asks nobody: a user without
// a password keeps none.
func (f etcdFlags) settle(env func(string) string) (etcdSettings, error) {
	s := etcdSettings{
		cacert:  first(f.cacert, env("ETCDCTL_CACERT")),
		cert:    first(f.cert, env("ETCDCTL_CERT")),
		key:     first(f.key, env("ETCDCTL_KEY")),
		prefix:  first(f.prefix, env("PENSTOCK_PREFIX"), actors.DefaultPrefix),
		timeout: f.timeout,
	}
	for e := range strings.SplitSeq(first(f.endpoints, env("PENSTOCK_ETCD"), env("ETCDCTL_ENDPOINTS"), defaultEtcd), ",") {
		if e = strings.TrimSpace(e); e != "" {
			s.endpoints = append(s.endpoints, e)
		}
	}
	var faults []error
	if len(s.endpoints) == 0 {
		faults = append(faults, usagef("no etcd endpoint given, for example %s", defaultEtcd))
	}
	for _, e := range s.endpoints {
		if strings.Contains(e, "@") {
			// Not shown: what stands before the @ is likely a password.
			faults = append(faults, usagef("an etcd endpoint holds a user: give it as --etcd-user"))
		} else if err := discovery.CheckEndpoint(e); err != nil {
			faults = append(faults, &usageError{err})
		}
	}
	if (s.cert == "") != (s.key == "") {
		faults = append(faults, usagef("--etcd-cert and --etcd-key belong together"))
	}
	if err := discovery.CheckTLS(s.endpoints, s.certificates()); err != nil && len(faults) == 0 {
		faults = append(faults, usagef("--etcd, --etcd-cacert, --etcd-cert: %w", err))
	}
	if s.timeout <= 0 {
		faults = append(faults, usagef("--etcd-timeout must be positive"))
	}
	s.user, s.password = parseUser(first(f.user, env("ETCDCTL_USER")))
	if s.user == "" && s.password != "" {
		faults = append(faults, usagef("--etcd-user: a password without a user"))
	}
	if s.user != "" && s.password == "" {
		s.password = env("ETCDCTL_PASSWORD")
	}
	return s, errors.Join(faults...)
}

// parseUser takes user[:password]; a password may hold colons.
func parseUser(s string) (user, password string) {
	user, password, _ = strings.Cut(s, ":")
	return user, password
}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

// certificates reports whether any were given.
func (s etcdSettings) certificates() bool { return s.cacert != "" || s.cert != "" }

// secure reports whether the connections are encrypted: all of them are, or none.
func (s etcdSettings) secure() bool {
	return s.certificates() || slices.ContainsFunc(s.endpoints, func(e string) bool {
		scheme, _, _ := strings.Cut(strings.ToLower(e), ":")
		return scheme == "https" || scheme == "unixs"
	})
}

// config reads the files, which the clients read again for each connection. ask is called for a password that is missing.
func (s etcdSettings) config(ask func(user string) (string, error)) (clientv3.Config, error) {
	cfg := clientv3.Config{Endpoints: s.endpoints, DialTimeout: s.timeout, Username: s.user, Password: s.password}
	if s.user != "" && s.password == "" {
		var err error
		if cfg.Password, err = ask(s.user); err != nil {
			return cfg, err
		}
	}
	if !s.secure() {
		return cfg, nil
	}
	files := discovery.TLSFiles{CA: s.cacert, Cert: s.cert, Key: s.key}
	if err := files.Use(&cfg); err != nil {
		return cfg, usagef("--etcd-cacert, --etcd-cert, --etcd-key: %w", err)
	}
	return cfg, nil
}
