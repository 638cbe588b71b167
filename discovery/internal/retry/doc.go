// Package retry says how long to wait between attempts to reach etcd, and waits
// without outliving a context. It knows of no etcd.
package retry
