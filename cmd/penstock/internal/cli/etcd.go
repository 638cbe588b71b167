package cli

// The way to etcd: flags, then Penstock's variables, then those of etcdctl.

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/discovery"
)

// DefaultEtcd is the endpoint where none is given.
const DefaultEtcd = "127.0.0.1:2379"

// EtcdFlags are the shared flags, as given; empty means not given.
type EtcdFlags struct {
	Endpoints         string
	cacert, cert, key string
	user              string
	Prefix            string
	Timeout           time.Duration
}

// Add adds the flags to those of a command.
func (f *EtcdFlags) Add(fs *pflag.FlagSet) {
	fs.StringVar(&f.Endpoints, "etcd", "", "etcd's `endpoints`, host:port, http(s)://host:port or unix://path, separated by commas (default "+DefaultEtcd+"; env PENSTOCK_ETCD, ETCDCTL_ENDPOINTS)")
	fs.StringVar(&f.cacert, "etcd-cacert", "", "`file` with the CA that etcd's certificate is checked against (env ETCDCTL_CACERT)")
	fs.StringVar(&f.cert, "etcd-cert", "", "`file` with our certificate for etcd (env ETCDCTL_CERT)")
	fs.StringVar(&f.key, "etcd-key", "", "`file` with its key (env ETCDCTL_KEY)")
	fs.StringVar(&f.user, "etcd-user", "", "`user[:password]`; the password may be in ETCDCTL_PASSWORD instead, else it is asked for (env ETCDCTL_USER)")
	fs.DurationVar(&f.Timeout, "etcd-timeout", 5*time.Second, "how long etcd may take to answer")
	fs.StringVar(&f.Prefix, "prefix", "", "`namespace` of all keys (default "+actors.DefaultPrefix+"; env PENSTOCK_PREFIX)")
}

// EtcdSettings are the flags after defaults and environment were applied.
type EtcdSettings struct {
	Endpoints         []string
	cacert, cert, key string
	User, password    string
	Prefix            string
	Timeout           time.Duration
}

// settle decides what counts. It opens nothing and asks nobody: a user without
// a password keeps none.
func (f EtcdFlags) settle(env func(string) string) (EtcdSettings, error) {
	s := EtcdSettings{
		cacert:  cmp.Or(f.cacert, env("ETCDCTL_CACERT")),
		cert:    cmp.Or(f.cert, env("ETCDCTL_CERT")),
		key:     cmp.Or(f.key, env("ETCDCTL_KEY")),
		Prefix:  cmp.Or(f.Prefix, env("PENSTOCK_PREFIX"), actors.DefaultPrefix),
		Timeout: f.Timeout,
	}
	for e := range strings.SplitSeq(cmp.Or(f.Endpoints, env("PENSTOCK_ETCD"), env("ETCDCTL_ENDPOINTS"), DefaultEtcd), ",") {
		if e = strings.TrimSpace(e); e != "" {
			s.Endpoints = append(s.Endpoints, e)
		}
	}
	var faults []error
	if len(s.Endpoints) == 0 {
		faults = append(faults, Usagef("no etcd endpoint given, for example %s", DefaultEtcd))
	}
	for _, e := range s.Endpoints {
		if strings.Contains(e, "@") {
			// Not shown: what stands before the @ is likely a password.
			faults = append(faults, Usagef("an etcd endpoint holds a user: give it as --etcd-user"))
		} else if err := discovery.CheckEndpoint(e); err != nil {
			faults = append(faults, &usageError{err})
		}
	}
	if (s.cert == "") != (s.key == "") {
		faults = append(faults, Usagef("--etcd-cert and --etcd-key belong together"))
	}
	if err := discovery.CheckTLS(s.Endpoints, s.certificates()); err != nil && len(faults) == 0 {
		faults = append(faults, Usagef("--etcd, --etcd-cacert, --etcd-cert: %w", err))
	}
	if s.Timeout <= 0 {
		faults = append(faults, Usagef("--etcd-timeout must be positive"))
	}
	s.User, s.password = parseUser(cmp.Or(f.user, env("ETCDCTL_USER")))
	if s.User == "" && s.password != "" {
		faults = append(faults, Usagef("--etcd-user: a password without a user"))
	}
	if s.User != "" && s.password == "" {
		s.password = env("ETCDCTL_PASSWORD")
	}
	return s, errors.Join(faults...)
}

// parseUser takes user[:password]; a password may hold colons.
func parseUser(s string) (user, password string) {
	user, password, _ = strings.Cut(s, ":")
	return user, password
}

// certificates reports whether any were given.
func (s EtcdSettings) certificates() bool { return s.cacert != "" || s.cert != "" }

// Secure reports whether the connections are encrypted: all of them are, or none.
func (s EtcdSettings) Secure() bool {
	return s.certificates() || slices.ContainsFunc(s.Endpoints, func(e string) bool {
		scheme, _, _ := strings.Cut(strings.ToLower(e), ":")
		return scheme == "https" || scheme == "unixs"
	})
}

// config reads the files, which the clients read again for each connection. ask is
// called for a password that is missing.
func (s EtcdSettings) config(ask func(user string) (string, error)) (clientv3.Config, error) {
	cfg := clientv3.Config{Endpoints: s.Endpoints, DialTimeout: s.Timeout, Username: s.User, Password: s.password}
	if s.User != "" && s.password == "" {
		var err error
		if cfg.Password, err = ask(s.User); err != nil {
			return cfg, err
		}
	}
	if !s.Secure() {
		return cfg, nil
	}
	files := discovery.TLSFiles{CA: s.cacert, Cert: s.cert, Key: s.key}
	if err := files.Use(&cfg); err != nil {
		return cfg, Usagef("--etcd-cacert, --etcd-cert, --etcd-key: %w", err)
	}
	return cfg, nil
}
