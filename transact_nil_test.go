package penstock_test

import (
	"context"
	"errors"
	"testing"

	"github.com/penstock-io/penstock"
)

// A transaction that puts to no topic ends with an error, and not with a panic.
func TestTransactNilTopic(t *testing.T) {
	rt, err := penstock.Start(t.Context(), penstock.EtcdConfig(etcd()), penstock.Prefix("/"+t.Name()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rt.Stop(context.Background()) })
	err = rt.Transact(t.Context(), func(tx *penstock.Tx) error {
		tx.Put(nil, penstock.Message{})
		return nil
	})
	if !errors.Is(err, penstock.ErrInvalid) {
		t.Errorf("put to a nil topic: %v, want ErrInvalid", err)
	}
}
