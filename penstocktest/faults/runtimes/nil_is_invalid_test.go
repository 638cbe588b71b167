package runtimes_test

// What is nil where it may not be.

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/penstock-io/penstock"
	"github.com/penstock-io/penstock/actors"
	"github.com/penstock-io/penstock/penstocktest"
	"github.com/penstock-io/penstock/penstocktest/faults/harness"
)

// errorOf is what a call of v with results out says: its last result if that is
// an error, or the error that a sequence yields; asked reports whether it can say
// one at all.
func errorOf(out []reflect.Value) (asked bool, err error) {
	for _, o := range out {
		switch t := o.Type(); {
		case t.Implements(reflect.TypeFor[error]()):
			err, _ = o.Interface().(error)
			return true, err
		case t == reflect.TypeFor[penstock.PutResult]():
			err, _ = o.FieldByName("Err").Interface().(error)
			return true, err
		case t.Kind() == reflect.Func: // a sequence
			yield := t.In(0)
			o.Call([]reflect.Value{reflect.MakeFunc(yield, func(args []reflect.Value) []reflect.Value {
				if last := args[len(args)-1]; last.Type().Implements(reflect.TypeFor[error]()) {
					err, _ = last.Interface().(error)
				}
				return []reflect.Value{reflect.ValueOf(false)}
			})})
			return yield.NumIn() == 2, err
		}
	}
	return false, nil
}

// Promise: a nil context and a nil option are ErrInvalid in every call, of the
// root and of the engine, and end nothing.
func TestNilIsInvalidEverywhere(t *testing.T) {
	t.Parallel()
	rt := harness.Runtime(t, penstocktest.Space(t))
	const theTopic = "events"
	topic, err := rt.CreateTopic(harness.Context(t), theTopic, penstock.TopicConfig{})
	if err != nil {
		t.Fatal(err)
	}
	sub, err := topic.Subscribe(harness.Context(t), "workers")
	if err != nil {
		t.Fatal(err)
	}
	orders := harness.Register(t, rt, "orders")
	member := harness.Join(t, rt, "orders", "billing")
	engine := rt.Engine()
	et, err := engine.Topic(harness.Context(t), theTopic, actors.ProducerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var none context.Context
	called := 0
	for _, handle := range []any{rt, orders, member, topic, sub, engine, et} {
		v := reflect.ValueOf(handle)
		for i := range v.NumMethod() {
			name, method := v.Type().Method(i).Name, v.Method(i)
			mt := method.Type()
			if mt.NumIn() == 0 || mt.In(0) != reflect.TypeFor[context.Context]() {
				continue
			}
			args := []reflect.Value{reflect.Zero(reflect.TypeFor[context.Context]())}
			for j := 1; j < mt.NumIn() && (!mt.IsVariadic() || j < mt.NumIn()-1); j++ {
				arg := reflect.Zero(mt.In(j))
				if arg.Kind() == reflect.String {
					arg = reflect.ValueOf("orders") // so that nil is all that is wrong
				}
				args = append(args, arg)
			}
			called++
			if asked, err := errorOf(method.Call(args)); asked && !errors.Is(err, penstock.ErrInvalid) {
				t.Errorf("%T.%s(nil): %v, want ErrInvalid", handle, name, err)
			}
			if !mt.IsVariadic() || mt.In(mt.NumIn()-1).Elem().Kind() != reflect.Interface {
				continue
			}
			args[0] = reflect.ValueOf(harness.Context(t))
			args = append(args, reflect.Zero(mt.In(mt.NumIn()-1).Elem()))
			if _, err := errorOf(method.Call(args)); !errors.Is(err, penstock.ErrInvalid) {
				t.Errorf("%T.%s with a nil option: %v, want ErrInvalid", handle, name, err)
			}
		}
	}
	if called < 50 {
		t.Errorf("%d calls take a context: this test does not see them all", called)
	}
	for what, call := range map[string]func() error{
		"Start":               func() error { _, err := penstock.Start(none, penstock.Etcd("127.0.0.1:1")); return err },
		"Start, nil option":   func() error { _, err := penstock.Start(harness.Context(t), nil); return err },
		"Consume of a member": func() error { return member.Consume(harness.Context(t), nil) },
		"Consume of a topic":  func() error { return sub.Consume(harness.Context(t), nil) },
		"Metrics":             func() error { _, err := rt.Metrics(nil); return err },
		"a partitioner of none": func() error {
			_, err := rt.Topic(harness.Context(t), theTopic, penstock.PartitionBy(penstock.Manual(nil)))
			return err
		},
	} {
		if err := call(); !errors.Is(err, penstock.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", what, err)
		}
	}
	if _, _, err := topic.Put(harness.Context(t), harness.Numbered(1)); err != nil {
		t.Errorf("after all that: %v", err)
	}
}
