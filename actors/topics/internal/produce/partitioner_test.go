package produce

import (
	"fmt"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/penstock-io/penstock/messages"
)

// The values of Kafka's own test of its hash (UtilsTest.testMurmur2), and one
// for each length of the tail.
func TestMurmur2IsKafkas(t *testing.T) {
	for key, want := range map[string]int32{
		"21":                         -973932308,
		"foobar":                     -790332482,
		"a-little-bit-long-string":   -985981536,
		"a-little-bit-longer-string": -1486304829,
		"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
		"abc": 479470107,
	} {
		if got := int32(murmur2([]byte(key))); got != want {
			t.Errorf("%q: %d, want %d", key, got, want)
		}
	}
}

// Kafka clears the sign; taking the absolute value or an unsigned remainder
// would come out elsewhere.
func TestByKeyGoesWhereKafkaWouldPutIt(t *testing.T) {
	for _, tc := range []struct {
		key              string
		partitions, want int
	}{
		{"21", 3, (-973932308 & 0x7fffffff) % 3},
		{"foobar", 7, (-790332482 & 0x7fffffff) % 7},
		{"abc", 1000, 479470107 % 1000},
		{"abc", 1, 0},
	} {
		key := []byte(tc.key)
		if got := ByKey().begin().pick(key, tc.partitions, nil); got != tc.want {
			t.Errorf("%q of %d: %d, want %d", tc.key, tc.partitions, got, tc.want)
		}
	}
}

// fakeTraffic is what partitions have queued and sealed.
type fakeTraffic struct {
	sealed []uint64
	bytes  []int64
}

func (f fakeTraffic) batches(p int) uint64 { return f.sealed[p] }
func (f fakeTraffic) queued(p int) int64   { return f.bytes[p] }

func TestPickersStayWithinTheTopic(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pickers := map[string]picker{
			"by key":      ByKey().begin(),
			"sticky":      Sticky().begin(),
			"round robin": RoundRobin().begin(),
			"random":      Random().begin(),
		}
		partitions := 1
		for range 20 {
			partitions = min(partitions+rapid.IntRange(0, 200).Draw(t, "more"), messages.MaxPartitions)
			var load fakeTraffic
			for range partitions {
				load.sealed = append(load.sealed, rapid.Uint64Range(0, 2).Draw(t, "sealed"))
				load.bytes = append(load.bytes, rapid.Int64Range(0, 3).Draw(t, "queued"))
			}
			key := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "key")
			for name, p := range pickers {
				if got := p.pick(key, partitions, load); got < 0 || got >= partitions {
					t.Fatalf("%s: partition %d of %d", name, got, partitions)
				}
			}
		}
	})
}

func TestStickyStaysUntilTheBatchIsClosed(t *testing.T) {
	for name, p := range map[string]Partitioner{"sticky": Sticky(), "without a key": ByKey()} {
		t.Run(name, func(t *testing.T) {
			load := fakeTraffic{sealed: make([]uint64, 4), bytes: []int64{5, 3, 0, 1}}
			s := p.begin()
			for range 10 {
				if got := s.pick(nil, 4, load); got != 2 {
					t.Fatalf("partition %d, want the one with nothing to do", got)
				}
			}
			load.bytes[2] = 100
			if got := s.pick(nil, 4, load); got != 2 {
				t.Fatalf("left for partition %d before its batch was closed", got)
			}
			load.sealed[2]++
			if got := s.pick(nil, 4, load); got != 3 {
				t.Fatalf("partition %d, want the one with least to do", got)
			}
		})
	}
}

// Of partitions with equally little to do it takes the next, so that a slow
// producer uses all of them.
func TestStickyGoesRound(t *testing.T) {
	load := fakeTraffic{sealed: make([]uint64, 5), bytes: make([]int64, 5)}
	s := Sticky().begin()
	last := s.pick(nil, 5, load)
	for range 10 {
		load.sealed[last]++
		got := s.pick(nil, 5, load)
		if got != (last+1)%5 {
			t.Fatalf("partition %d after %d", got, last)
		}
		last = got
	}
}

func TestRoundRobinTakesThemInTurn(t *testing.T) {
	p := RoundRobin()
	for range 2 { // each handle has a turn of its own
		r := p.begin()
		var got []int
		for range 7 {
			got = append(got, r.pick(nil, 3, nil))
		}
		if want := "[0 1 2 0 1 2 0]"; fmt.Sprint(got) != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
}

func TestRandomReachesAll(t *testing.T) {
	seen := make(map[int]bool)
	r := Random().begin()
	for range 1000 { // one is missed once in 10^120 runs
		seen[r.pick(nil, 4, nil)] = true
	}
	if len(seen) != 4 {
		t.Errorf("only partitions %v", seen)
	}
}

func TestPickersAreSharedByGoroutines(t *testing.T) {
	load := fakeTraffic{sealed: make([]uint64, 3), bytes: make([]int64, 3)}
	for _, p := range []picker{ByKey().begin(), Sticky().begin(), RoundRobin().begin(), Random().begin()} {
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				for n := range 100 {
					partitions := 1 + (n+i)%3
					if got := p.pick(nil, partitions, load); got < 0 || got >= partitions {
						t.Errorf("partition %d of %d", got, partitions)
					}
				}
			})
		}
		wg.Wait()
	}
}
