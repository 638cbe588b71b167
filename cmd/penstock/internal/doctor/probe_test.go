package doctor

// What the doctor makes of a real etcd, and of one that can do less.

import (
	"context"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/penstock-io/penstock/penstocktest"
)

// With PENSTOCKTEST_ETCD it is that etcd which has to be in order.
func TestDoctorFindsEtcdInOrder(t *testing.T) {
	etcd := penstocktest.Etcd(t)
	client := etcd.Client(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	status, err := client.Status(ctx, etcd.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	if c := judgeVersion("etcd", status.Version); c.Status != verdictOK {
		t.Errorf("%+v", c)
	}
	if step, err := probe(ctx, client, "/doctor/probe"); err != nil {
		t.Errorf("%s: %v", step, err)
	}
}

// plain is an etcd that does not know nested transactions, and skips them.
type plain struct{ clientv3.KV }

func (plain) Txn(context.Context) clientv3.Txn { return plainTxn{} }

type plainTxn struct{}

func (t plainTxn) If(...clientv3.Cmp) clientv3.Txn  { return t }
func (t plainTxn) Then(...clientv3.Op) clientv3.Txn { return t }
func (t plainTxn) Else(...clientv3.Op) clientv3.Txn { return t }
func (t plainTxn) Commit() (*clientv3.TxnResponse, error) {
	return &clientv3.TxnResponse{Succeeded: true}, nil
}

func TestDoctorFindsWhatEtcdCannotDo(t *testing.T) {
	client := penstocktest.Etcd(t).Client(t)
	client.KV = plain{client.KV}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	step, err := probe(ctx, client, "/doctor/probe")
	if err == nil || step != "transaction" {
		t.Fatalf("%q, %v; want that transactions fail", step, err)
	}
	if c := judgeRights("/doctor", step, err, 0); c.Status != verdictFail {
		t.Errorf("%+v", c)
	}
}
