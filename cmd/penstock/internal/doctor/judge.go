package doctor

// What the doctor makes of what it found: facts go in, a line comes out.

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/cmd/penstock/internal/cli"
	"github.com/penstock-io/penstock/cmd/penstock/internal/inventory"
	"github.com/penstock-io/penstock/messages"
)

func judgeTransport(endpoints []string, secure bool) check {
	c := check{Name: "encryption", Status: verdictOK, Found: "TLS to etcd"}
	if secure {
		return c
	}
	for _, e := range endpoints {
		host := e
		if scheme, rest, cut := strings.Cut(e, "://"); cut {
			if strings.HasPrefix(scheme, "unix") {
				continue
			}
			host = rest
		}
		if cli.Exposed(host) || !strings.HasPrefix(host, "localhost:") && !isAddress(host) {
			c.Status, c.Found = verdictWarn, "what goes to "+e+" can be read on the way, tokens of senders included"
			c.Do = "give etcd certificates and use --etcd-cacert"
			return c
		}
	}
	c.Found = "none, and none is needed on this machine"
	return c
}

func isAddress(hostport string) bool {
	host, _, err := net.SplitHostPort(hostport)
	return err == nil && net.ParseIP(host) != nil
}

func judgeUnreached(name string, endpoints []string, err error) check {
	c := check{Name: name, Status: verdictFail, Found: err.Error()}
	switch {
	case errors.Is(err, penstock.ErrDenied):
		c.Do = "check --etcd-user and its password"
	case errors.Is(err, penstock.ErrInvalid):
		c.Do = "correct the flags"
	default:
		c.Do = cli.WayOut(endpoints, err)
	}
	return c
}

func judgeAnswer(name string, took time.Duration) check {
	c := check{Name: name + " answer", Status: verdictOK, Found: "in " + took.Round(100*time.Microsecond).String()}
	if took > time.Second {
		c.Status, c.Do = verdictWarn, "look at the network and at etcd's load"
	}
	return c
}

func judgeLeader(name string, leader uint64, learner bool) check {
	c := check{Name: name + " leader", Status: verdictOK, Found: "known"}
	switch {
	case leader == 0:
		c.Status, c.Found, c.Do = verdictFail, "none: nothing can be written", "bring back a majority of etcd's members"
	case learner:
		c.Status, c.Found, c.Do = verdictWarn, "known, but this member is a learner, which serves little", "promote it, or leave it out of --etcd"
	}
	return c
}

// defaultQuota is etcd's when it does not say.
const defaultQuota = 2 << 30

func judgeSpace(name string, size, used, quota int64) check {
	if quota <= 0 {
		quota = defaultQuota
	}
	share := float64(size) / float64(quota)
	c := check{
		Name: name + " space", Status: verdictOK,
		Found: fmt.Sprintf("%.1f MiB of %.0f MiB (%.1f MiB in use)", mib(size), mib(quota), mib(used)),
	}
	switch {
	case share >= 0.95:
		c.Status = verdictFail
	case share >= 0.8:
		c.Status = verdictWarn
	default:
		return c
	}
	c.Do = "compact and defragment it, or raise --quota-backend-bytes: a full etcd refuses leases and records: discovery and topics end"
	return c
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }

func judgeAlarms(name string, errs []string) check {
	if len(errs) == 0 {
		return check{Name: name + " alarms", Status: verdictOK, Found: "none"}
	}
	found := strings.Join(errs, "; ")
	c := check{Name: name + " alarms", Status: verdictFail, Found: found, Do: "see etcd's log"}
	switch {
	case strings.Contains(found, "NOSPACE"):
		c.Do = "compact, defragment, then \"etcdctl alarm disarm\""
	case strings.Contains(found, "CORRUPT"):
		c.Do = "stop the corrupt member and restore it from the others"
	}
	return c
}

// Clocks may differ by so much; the measure itself is good to a second.
const clockTolerance = 2 * time.Second

func judgeClock(name string, skew time.Duration, err error) check {
	c := check{Name: name + " clock", Status: verdictOK, Found: "agrees with ours to the second or two"}
	switch {
	case err != nil:
		c.Status, c.Found = verdictWarn, "could not be read: "+err.Error()
	case skew.Abs() > clockTolerance:
		side := "ahead of"
		if skew < 0 {
			side = "behind"
		}
		c.Status = verdictWarn
		c.Found = fmt.Sprintf("%s %s ours", skew.Abs().Round(time.Second), side)
		c.Do = "run NTP on both: leases do not mind, but the times in listings and messages mislead"
	}
	return c
}

func judgeRights(prefix, step string, err error, took time.Duration) check {
	c := check{Name: "rights under " + prefix, Status: verdictOK, Found: fmt.Sprintf("lease, put, get, transaction and delete in %s", took.Round(100*time.Microsecond))}
	switch {
	case errors.Is(err, penstock.ErrDenied):
		c.Status, c.Found = verdictFail, step+": "+err.Error()
		c.Do = fmt.Sprintf("\"etcdctl role grant-permission ROLE readwrite --prefix=true %s/\"", prefix)
	case err != nil:
		c.Status, c.Found = verdictFail, step+": "+err.Error()
		c.Do = "see the checks above"
	case took > 2*time.Second:
		c.Status, c.Do = verdictWarn, "etcd's disk or the network is slow: registering will be too"
	}
	return c
}

func judgeSecrets(prefix string, err error) check {
	c := check{Name: "rights under " + prefix, Status: verdictOK, Found: "read"}
	switch {
	case errors.Is(err, penstock.ErrDenied):
		c.Status, c.Found = verdictWarn, "denied: this user can list senders, but not connect to them"
		c.Do = fmt.Sprintf("\"etcdctl role grant-permission ROLE read --prefix=true %s\" if it is to receive", prefix)
	case err != nil:
		c.Status, c.Found = verdictFail, err.Error()
	}
	return c
}

func judgeListing(prefix string, err error) check {
	return check{Name: "registry", Status: verdictFail, Found: err.Error(), Do: "grant read on " + prefix}
}

// judgeRegistry looks for what cannot be: entries that do not decode, or that
// were made in our future.
func judgeRegistry(inv *inventory.Inventory, now time.Time) check {
	senders, members, future := 0, 0, ""
	late := func(what, host string, since time.Time) {
		if ahead := since.Sub(now); ahead > clockTolerance {
			future = fmt.Sprintf("%s on %s registered %s from now", what, cli.Clean(host), ahead.Round(time.Second))
		}
	}
	for _, d := range inv.Destinations {
		for _, s := range d.Senders {
			senders++
			late("sender "+d.Name+"/"+s.ID, s.Host, s.Since)
		}
		for _, g := range d.Groups {
			for _, m := range g.Members {
				members++
				late("member "+d.Name+"/"+g.Name+"/"+m.ID, m.Host, m.Since)
			}
		}
	}
	c := check{Name: "registry", Status: verdictOK, Found: fmt.Sprintf("%d destinations, %d senders, %d members", len(inv.Destinations), senders, members)}
	switch {
	case len(inv.Unreadable) > 0:
		c.Status, c.Found = verdictWarn, cli.Clean(strings.Join(inv.Unreadable, ", "))+" does not decode"
		c.Do = "see who writes there; give them or Penstock another prefix"
	case future != "":
		c.Status, c.Found, c.Do = verdictWarn, future, "run NTP on that host and on this one"
	}
	return c
}

// judgeTopics looks for settings that do not decode, and for topics whose removal
// nobody continues.
func judgeTopics(prefix string, inv *inventory.Inventory, unfinished int, err error) check {
	c := check{
		Name: "topics", Status: verdictOK,
		Found: fmt.Sprintf("%d topics, %d partitions", len(inv.Topics), partitionsOf(inv.Topics)),
	}
	switch {
	case errors.Is(err, penstock.ErrDenied):
		c.Status, c.Found = verdictWarn, "denied: this user cannot use topics"
		c.Do = fmt.Sprintf("\"etcdctl role grant-permission ROLE readwrite --prefix=true %s/\" if it is to", prefix)
	case err != nil:
		c.Status, c.Found, c.Do = verdictFail, err.Error(), "see the checks above"
	case len(inv.Unreadable) > 0:
		c.Status, c.Found = verdictFail, cli.Clean(strings.Join(inv.Unreadable, ", "))+" does not decode"
		c.Do = "see who writes there, and delete it: the topic cannot be used"
	case unfinished > 0:
		c.Status, c.Found = verdictWarn, fmt.Sprintf("%s; the keys of %d more, deleted or half created, still exist", c.Found, unfinished)
		c.Do = "create or delete any topic: that removes the rest"
	}
	return c
}

func judgeSocket(name, url string, err error) check {
	c := check{Name: name, Status: verdictOK, Found: url + " answers"}
	var unknown *net.DNSError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, errOneProcess):
		c.Found = url + " was not asked: " + err.Error()
	case strings.HasPrefix(url, "ipc:") && errors.Is(err, syscall.ECONNREFUSED):
		c.Status, c.Found = verdictFail, url+": the file is here, and nobody listens at it: "+err.Error()
		c.Do = "if the sender has died, its entry goes with its lease, and the next sender at that path replaces its socket; " +
			"if it runs, another program has taken the path: remove the file, and the sender makes its socket again within 5 s"
	case strings.HasPrefix(url, "ipc:") && errors.Is(err, fs.ErrPermission):
		c.Status, c.Found = verdictFail, url+": "+err.Error()
		c.Do = "give the sender's URL ?mode=0660&group=… with a group that its members are in, or run the doctor as the user that members run as"
	case errors.Is(err, messages.ErrInvalid):
		c.Status, c.Found = verdictWarn, url+" was not checked: "+err.Error()
	case errors.Is(err, errWantsCertificate):
		c.Status, c.Found = verdictWarn, url+" answers; "+err.Error()
		c.Do = "give --link-cert and --link-key to check more"
	case errors.Is(err, errNotSender):
		c.Status, c.Found = verdictFail, url+": "+err.Error()
		c.Do = "something else has that port, or a proxy there does not lead to the sender: look at --listen and ?advertise= of the sender"
	case errors.As(err, &unknown):
		c.Status, c.Found = verdictFail, url+": "+err.Error()
		c.Do = "this machine cannot look up that name: have the sender advertise an address, or correct the DNS of this machine"
	case errors.Is(err, fs.ErrNotExist):
		c.Status, c.Found = verdictWarn, url+" is not on this machine"
		c.Do = "ask the doctor on the sender's machine"
	case errors.As(err, &certificate):
		c.Status, c.Found = verdictFail, url+": "+err.Error()
		c.Do = "give the proxy a certificate for that name, of an authority that members trust: the system's, or that in --link-cacert"
	case err != nil:
		c.Status, c.Found = verdictFail, url+": "+err.Error()
		c.Do = "if it has just died its entry goes with its lease; else look at firewalls, and at ?advertise= of the sender"
	}
	return c
}

// partitionsOf is how many partitions the topics have together.
func partitionsOf(topics []inventory.Topic) (n int) {
	for _, t := range topics {
		n += t.Partitions
	}
	return n
}
