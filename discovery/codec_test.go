package discovery

import (
	"bytes"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/protobuf/proto"
)

// What is sent is what anybody would send, and takes about as much memory.
func TestCodec(t *testing.T) {
	for _, size := range []int{0, 100, 31 << 10, 33 << 10, 100 << 10, 512<<10 + 300, 1 << 20, 3 << 19} {
		m := &pb.PutRequest{Key: []byte("key"), Value: bytes.Repeat([]byte("value"), size/5)}
		want, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		got, err := exact.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Materialize(), want) {
			t.Errorf("a request of %d bytes is sent as %d others", len(want), got.Len())
		}
		if held := cap(got[0].ReadOnlyData()); held > 2*len(want)+1<<10 || size > 500<<10 && held > len(want)*11/10 {
			t.Errorf("a request of %d bytes takes %d", len(want), held)
		}
		var back pb.PutRequest
		if err := exact.Unmarshal(got, &back); err != nil || !proto.Equal(m, &back) {
			t.Errorf("a request of %d bytes is read as another, %v", len(want), err)
		}
		got.Free()
	}
	if _, err := exact.Marshal(1); err == nil {
		t.Error("a number is no message")
	}
}
