package messages

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

type settlements struct{ calls []string }

func (s *settlements) Ack(seq uint64) { s.calls = append(s.calls, fmt.Sprint("ack ", seq)) }
func (s *settlements) Nack(seq uint64, cause error) {
	s.calls = append(s.calls, fmt.Sprint("nack ", seq, " ", cause))
}
func (s *settlements) InProgress(seq uint64) {
	s.calls = append(s.calls, fmt.Sprint("in progress ", seq))
}

func TestDeliverySettles(t *testing.T) {
	var s settlements
	d := Delivery{Seq: 3, Settler: &s, Payload: Payload{Value: []byte("v")}}
	d.InProgress()
	d.Nack(errors.New("no"))
	d.Clone().Ack()
	want := []string{"in progress 3", "nack 3 no", "ack 3"}
	if !slices.Equal(s.calls, want) {
		t.Errorf("got %v, want %v", s.calls, want)
	}

	var alone Delivery
	alone.Ack()
	alone.Nack(nil)
	alone.InProgress()
}

func TestDeliveryCloneKeepsNothingOfTheFrame(t *testing.T) {
	frame := []byte("value")
	d := Delivery{Payload: Payload{Value: frame}, Destination: "orders", Attempt: 2}
	c := d.Clone()
	clear(frame)
	if string(c.Value) != "value" || c.Destination != "orders" || c.Attempt != 2 {
		t.Errorf("got %+v", c)
	}
}
