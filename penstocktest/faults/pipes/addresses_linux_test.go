package pipes_test

// Machines with other networks than the one the tests run on: harness.OwnNetwork.

import (
	"bytes"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/messages"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
	"github.com/penstock-io/penstock/penstocktest/internal/server"
)

// hostsOf are the hosts of URLs.
func hostsOf(t *testing.T, urls []string) (hosts []string) {
	t.Helper()
	for _, u := range urls {
		host, _, err := net.SplitHostPort(strings.TrimPrefix(u, "tcp://"))
		if err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, host)
	}
	return hosts
}

// registered registers a sender, and returns which URLs it advertises.
func registered(t *testing.T, rt *penstock.Runtime) (*penstock.Destination, []string) {
	t.Helper()
	events := penstocktest.Record(t, rt)
	d := harness.Register(t, rt, "orders")
	return d, penstocktest.WaitEvent[messages.DestinationRegistered](t, events, harness.Patience, nil).URLs
}

// Promise: without configuration a sender advertises what others can dial, whatever
// networks its machine has, and a member of another process reaches it there.
func TestDefaultAddresses(t *testing.T) {
	if !harness.OwnNetwork(t) {
		return
	}
	eth0 := func(lines ...string) []string {
		return append([]string{"link add eth0 type veth peer name far0", "link set far0 up", "link set eth0 up"}, lines...)
	}
	for _, c := range []struct {
		name string
		has  []string
		want string
	}{
		{"loopback only, and a name that does not resolve", nil, "127.0.0.1 ::1"},
		{"IPv4", eth0("addr add 10.9.0.2/24 dev eth0", "route add default via 10.9.0.1"), "10.9.0.2"},
		{"both families", eth0("addr add 10.9.0.2/24 dev eth0", "addr add fd00:9::2/64 dev eth0 nodad",
			"route add default via 10.9.0.1", "-6 route add default via fd00:9::1 dev eth0"), "10.9.0.2 fd00:9::2"},
		{"link-local IPv6 only", eth0(), "127.0.0.1 ::1"},
		{"a pod of Calico", eth0("addr add 10.244.1.7/32 dev eth0", "route add 169.254.1.1 dev eth0 scope link", "route add default via 169.254.1.1 dev eth0"), "10.244.1.7"},
		{"bridges of containers, one that is down, and no default route", append([]string{
			"link add docker0 type veth peer name far1", "addr add 172.17.0.1/16 dev docker0", "link set docker0 up",
			"link add br-4a0c type veth peer name far2", "addr add 172.18.0.1/16 dev br-4a0c", "link set far2 up", "link set br-4a0c up",
			"link add eth1 type veth peer name far3", "addr add 10.8.0.2/24 dev eth1",
		}, eth0("addr add 10.9.0.2/24 dev eth0")...), "10.9.0.2"},
	} {
		harness.IP(t, c.has...)
		_, urls := registered(t, harness.Runtime(t, penstocktest.Space(t), penstock.Listen("tcp://:0")))
		if got := strings.Join(hostsOf(t, urls), " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
		for _, u := range urls {
			if conn, err := net.DialTimeout("tcp", strings.TrimPrefix(u, "tcp://"), harness.Soon); err != nil {
				t.Errorf("%s: %v", c.name, err)
			} else {
				conn.Close()
			}
		}
		for _, line := range c.has {
			if name, ok := strings.CutPrefix(line, "link add "); ok {
				harness.IP(t, "link del "+strings.Fields(name)[0])
			}
		}
	}
}

// Promise: of the addresses of IPv6 that the default route could leave from, a sender
// advertises the one that stays, and not one for privacy, which is another the next day.
func TestPrivateAddressesAreNotAdvertised(t *testing.T) {
	if !harness.OwnNetwork(t) {
		return
	}
	harness.IP(t, "link add eth0 type veth peer name far0", "link set far0 up", "link set eth0 up")
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/eth0/use_tempaddr", []byte("2"), 0o600); err != nil {
		t.Skipf("addresses for privacy cannot be switched on: %v", err)
	}
	harness.IP(t, "addr add fd00:9::2/64 dev eth0 mngtmpaddr nodad", "-6 route add default via fd00:9::1 dev eth0")
	harness.Eventually(t, "connections leave from an address for privacy", func() bool {
		conn, err := net.Dial("udp6", "[2001:db8::1]:9")
		if err != nil {
			return false
		}
		defer conn.Close()
		return !conn.LocalAddr().(*net.UDPAddr).IP.Equal(net.ParseIP("fd00:9::2"))
	})
	_, urls := registered(t, harness.Runtime(t, penstocktest.Space(t), penstock.Listen("tcp://:0")))
	if got := hostsOf(t, urls); !slices.Equal(got, []string{"fd00:9::2"}) {
		t.Errorf("it advertises %s", urls)
	}
}

// Promise: two processes on a machine that has IPv6 alone find each other without
// configuration.
func TestIPv6Alone(t *testing.T) {
	if !harness.OwnNetwork(t) {
		return
	}
	harness.IP(t, "link add eth0 type veth peer name far0", "link set far0 up", "link set eth0 up", "addr add fd00:9::2/64 dev eth0 nodad", "-6 route add default via fd00:9::1 dev eth0")
	etcd, err := server.Start(harness.Context(t), "", "[::1]:"+strconv.Itoa(penstocktest.FreePort(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer etcd.Close()
	harness.IP(t, "-4 addr flush dev lo")
	rt, err := penstock.Start(harness.Context(t), penstock.Etcd(etcd.Endpoint()), penstock.Prefix("/six"))
	if err != nil {
		t.Fatal(err)
	}
	defer rt.Stop(harness.Context(t))
	orders, urls := registered(t, rt)
	if got := hostsOf(t, urls); !slices.Equal(got, []string{"fd00:9::2"}) {
		t.Errorf("it advertises %s", urls)
	}
	l := harness.NewLedger()
	spawn(t, childSpec{Role: roleMember, Endpoint: etcd.Endpoint(), Space: "/six", Listen: "tcp://:0", Destination: "orders", Group: "billing", Member: "m"}, l).awaitReady(t)
	harness.Send(t, orders, 0, 100)
	if err := orders.Flush(harness.Context(t)); err != nil {
		t.Fatal(err)
	}
	l.Await(t, "all messages", func(now harness.Tally) bool { return now.Distinct == 100 })
}

// machine is another machine: a process with a network of its own, connected to ours.
type machine struct{ *child }

// connect begins a member on another machine, 10.99.0.1, to which our eth0 leads.
func connect(t *testing.T, spec childSpec, l *harness.Ledger) machine {
	t.Helper()
	spec.attr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	m := machine{spawn(t, spec, l)}
	harness.IP(t, "link add eth0 type veth peer name eth0 netns "+strconv.Itoa(m.cmd.Process.Pid))
	m.ip(t, "link set lo up", "addr add 10.99.0.1/24 dev eth0", "link set eth0 up")
	return m
}

// ip changes the network of that machine.
func (m machine) ip(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		args := append([]string{"-t", strconv.Itoa(m.cmd.Process.Pid), "-n", "ip"}, strings.Fields(line)...)
		if out, err := exec.Command("nsenter", args...).CombinedOutput(); err != nil {
			t.Fatalf("nsenter %s: %v %s", strings.Join(args, " "), err, out)
		}
	}
}

// Promise: a sender whose machine gets a network, another address, or none follows: etcd
// and an event have the new URLs, links that stand are kept, members elsewhere
// come by the new address, and nothing is lost.
func TestAddressesChange(t *testing.T) {
	if !harness.OwnNetwork(t) {
		return
	}
	if _, err := exec.LookPath("nsenter"); err != nil {
		t.Skip("there is no program nsenter (util-linux)")
	}
	ns := penstocktest.Space(t)
	rt := harness.Runtime(t, ns, penstock.Listen("tcp://:0"))
	events := penstocktest.Record(t, rt)
	orders := harness.Register(t, rt, "orders", penstock.SenderID("the-sender"), penstock.RequireGroups("here", "elsewhere"))
	here, elsewhere := harness.NewLedger(), harness.NewLedger()
	spawn(t, childSpec{Role: roleMember, Endpoint: harness.Etcd.Endpoint(), Space: ns, Destination: "orders", Group: "here", Member: "here"}, here).awaitReady(t)
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberLinked) bool { return e.Member == "here" })
	c := harness.Client(t)
	moves := func(to string, local bool) {
		t.Helper()
		moved := penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.SenderMoved) bool { return hostsOf(t, e.URLs)[0] == to })
		if moved.Local != local {
			t.Errorf("%+v: local", moved)
		}
		got, err := c.Get(harness.Context(t), ns+"/dest/orders/senders/the-sender")
		if err != nil || len(got.Kvs) != 1 || !bytes.Contains(got.Kvs[0].Value, []byte(moved.URLs[0])) {
			t.Errorf("etcd has %v, %v", got, err)
		}
	}

	other := connect(t, childSpec{Role: roleMember, Endpoint: "unix://" + throughUnix(t, harness.Etcd.Endpoint()), Space: ns, Destination: "orders", Group: "elsewhere", Member: "elsewhere"}, elsewhere)
	harness.IP(t, "addr add 10.99.0.2/24 dev eth0", "link set eth0 up", "route add default via 10.99.0.1")
	moves("10.99.0.2", false)
	other.awaitReady(t)
	penstocktest.WaitEvent(t, events, harness.Patience, func(e messages.MemberLinked) bool { return e.Member == "elsewhere" })

	load := harness.StartLoad(t, orders)
	harness.IP(t, "addr del 10.99.0.2/24 dev eth0", "addr add 10.99.0.3/24 dev eth0", "route add default via 10.99.0.1")
	moves("10.99.0.3", false)
	n := harness.Settle(t, load, orders, elsewhere)
	here.Await(t, "all messages", func(now harness.Tally) bool { return now.Distinct == n })

	harness.IP(t, "link set eth0 down")
	moves("127.0.0.1", true)
	for _, e := range events.Events() {
		if gone, ok := e.(messages.MemberUnlinked); ok && gone.Member == "here" {
			t.Errorf("a link was cut that stood: %+v", gone)
		}
	}
}

// throughUnix lets machines without a way to that address come to it by a file.
func throughUnix(t *testing.T, to string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "etcd.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	carry := func(a, b net.Conn) {
		_, _ = io.Copy(a, b)
		_, _ = a.Close(), b.Close()
	}
	all.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			conn, err := net.DialTimeout("tcp", to, time.Second)
			if err != nil {
				from.Close()
				continue
			}
			all.Go(func() { carry(from, conn) })
			all.Go(func() { carry(conn, from) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
	return path
}
