package host

import (
	"io"
	"maps"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
)

func TestMachine(t *testing.T) {
	m := Machine()
	if m.Cores < 1 || m.OS != runtime.GOOS || m.Go == "" {
		t.Errorf("%+v", m)
	}
	if runtime.GOOS == "linux" && (m.Kernel == "" || m.Memory < 1<<20) {
		t.Errorf("Linux shows more than %+v", m)
	}
}

func TestCountsOfEtcd(t *testing.T) {
	const text = `# HELP etcd_disk_wal_fsync_duration_seconds The latency.
etcd_disk_wal_fsync_duration_seconds_bucket{le="0.001"} 7
etcd_disk_wal_fsync_duration_seconds_count 12
grpc_server_msg_received_total{grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"} 3
grpc_server_msg_received_total{grpc_method="Watch",grpc_service="etcdserverpb.Watch",grpc_type="bidi_stream"} 1e+03
go_goroutines 99
`
	c, err := counts(strings.NewReader(text))
	if want := (EtcdCounts{Fsyncs: 12, Requests: 1003}); err != nil || c != want {
		t.Errorf("%+v, %v; want %+v", c, err, want)
	}
	if got, want := c.Minus(EtcdCounts{Fsyncs: 2, Requests: 3}), (EtcdCounts{Fsyncs: 10, Requests: 1000}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// Both ends of a connection are here, and what each sent counts.
func TestWireCountsWhatSocketsSend(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux says what a socket has sent")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	before := Wire()
	for from, to := range map[net.Conn]net.Conn{a: b, b: a} {
		if _, err := from.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(to, make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if got := Wire() - before; got != 2000 {
		t.Errorf("%d bytes were sent, not 2000", got)
	}
	if RSS(os.Getpid()) < 1<<20 || OwnRSS() < 1<<20 {
		t.Error("this process takes no memory")
	}
}

func TestVersionsOfAProgram(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := VersionsOf(self), Versions(); !maps.Equal(got, want) {
		t.Errorf("%v, and of itself %v", got, want)
	}
	if got := VersionsOf(t.TempDir()); len(got) != 0 {
		t.Errorf("a directory has %v", got)
	}
}
