package cli

// Certificates for links, as flags.

import (
	"github.com/spf13/pflag"

	"github.com/penstock-io/penstock"
)

// LinkFlags are the flags of encrypted links.
type LinkFlags struct {
	ca, cert, key string
	require       bool
}

// Add adds the flags to those of a command.
func (f *LinkFlags) Add(fs *pflag.FlagSet) {
	fs.StringVar(&f.ca, "link-cacert", "", "`file` with the CA of the certificates on links, which encrypts them; see --etcd-cacert for etcd's")
	fs.StringVar(&f.cert, "link-cert", "", "`file` with our certificate for links")
	fs.StringVar(&f.key, "link-key", "", "`file` with its key")
}

// AddRequire adds the flag that refuses links which are not encrypted.
func (f *LinkFlags) AddRequire(fs *pflag.FlagSet) {
	fs.BoolVar(&f.require, "link-require-tls", false, "refuse links that are not encrypted")
}

// Certificates returns what the flags name, and whether they name any.
func (f *LinkFlags) Certificates() (penstock.LinkCertificates, bool) {
	return penstock.LinkCertificates{CA: f.ca, Cert: f.cert, Key: f.key}, f.ca != "" || f.cert != "" || f.key != ""
}

// Check returns what is missing, as a usage error.
func (f *LinkFlags) Check() error {
	if (f.cert == "") != (f.key == "") {
		return Usagef("--link-cert and --link-key belong together: give both")
	}
	if _, ok := f.Certificates(); f.require && !ok {
		return Usagef("--link-require-tls: there are no certificates: give --link-cacert, and to send --link-cert and --link-key")
	}
	return nil
}

// Options are the options of a runtime that the flags ask for.
func (f *LinkFlags) Options() (opts []penstock.StartOption) {
	if c, ok := f.Certificates(); ok {
		opts = append(opts, penstock.LinkTLS(c))
	}
	if f.require {
		opts = append(opts, penstock.RequireTLS())
	}
	return opts
}
