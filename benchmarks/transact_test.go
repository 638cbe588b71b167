package benchmarks

import (
	"bytes"
	"testing"

	"github.com/penstock-io/penstock"
)

// What a step costs that takes records from a topic, puts as many into another, and
// commits both in one transaction, beside a guarded put of the same size. The goals: one
// of 1 KiB in and out at least half as often as a put, and 20,000 records in a second with
// 64 in a step.
//
//	go test -run '^$' -bench Transact -benchtime 2000x ./benchmarks
func BenchmarkTransact(b *testing.B) {
	value := bytes.Repeat([]byte("0123456789abcdef"), 64)
	b.Run("put", func(b *testing.B) {
		out := create(b, start(b), "transact-out", 1)
		m := penstock.Message{Value: value}
		b.ReportAllocs()
		for b.Loop() {
			if _, _, err := out.Put(b.Context(), m); err != nil {
				b.Fatal(err)
			}
		}
		perSecond(b, b.N)
	})
	for _, step := range []int{1, 64} {
		b.Run(map[int]string{1: "one", 64: "sixty-four"}[step], func(b *testing.B) {
			rt := start(b)
			in, out := create(b, rt, "transact-in", 1), create(b, rt, "transact-out", 1)
			sub := subscribe(b, in, "movers")
			batch := make([]penstock.Message, 64)
			for i := range batch {
				batch[i].Value = value
			}
			move := func(tx *penstock.Tx, recs []penstock.Record) error {
				for _, r := range recs {
					tx.Put(out, penstock.Message{Value: r.Value})
				}
				return nil
			}
			left, moved := 0, 0
			b.ReportAllocs()
			for b.Loop() {
				if left < step {
					b.StopTimer()
					for range 64 {
						if _, err := in.PutBatch(b.Context(), batch); err != nil {
							b.Fatal(err)
						}
					}
					left += 64 * len(batch)
					b.StartTimer()
				}
				n, err := sub.Transact(b.Context(), step, move)
				if err != nil {
					b.Fatal(err)
				}
				left -= n
				moved += n
			}
			perSecond(b, moved)
			if err := sub.Unsubscribe(bounded(b)); err != nil {
				b.Error(err)
			}
		})
	}
}

func perSecond(b *testing.B, records int) {
	b.ReportMetric(float64(records)/b.Elapsed().Seconds(), "records/s")
}
