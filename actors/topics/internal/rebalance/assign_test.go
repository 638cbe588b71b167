package rebalance

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestAssign(t *testing.T) {
	for name, tc := range map[string]struct {
		members    []string
		partitions int
		current    map[int]string
		want       map[int]string
		moved      int
	}{
		"nobody":            {nil, 3, map[int]string{0: "a"}, map[int]string{}, 0},
		"no partitions":     {[]string{"a"}, 0, nil, map[int]string{}, 0},
		"the first":         {[]string{"a"}, 3, nil, map[int]string{0: "a", 1: "a", 2: "a"}, 0},
		"two at once":       {[]string{"a", "b"}, 3, nil, map[int]string{0: "a", 1: "b", 2: "a"}, 0},
		"a second comes":    {[]string{"a", "b"}, 4, map[int]string{0: "a", 1: "a", 2: "a", 3: "a"}, map[int]string{0: "a", 1: "a", 2: "b", 3: "b"}, 2},
		"one goes":          {[]string{"b"}, 3, map[int]string{0: "a", 1: "b", 2: "a"}, map[int]string{0: "b", 1: "b", 2: "b"}, 2},
		"one for another":   {[]string{"b", "c"}, 4, map[int]string{0: "a", 1: "b", 2: "a", 3: "b"}, map[int]string{0: "c", 1: "b", 2: "c", 3: "b"}, 2},
		"the topic grows":   {[]string{"a", "b"}, 4, map[int]string{0: "a", 1: "b"}, map[int]string{0: "a", 1: "b", 2: "a", 3: "b"}, 0},
		"too many members":  {[]string{"a", "b", "c"}, 2, map[int]string{0: "c", 1: "b"}, map[int]string{0: "c", 1: "b"}, 0},
		"the larger share":  {[]string{"a", "b"}, 3, map[int]string{0: "b", 1: "b", 2: "a"}, map[int]string{0: "b", 1: "b", 2: "a"}, 0},
		"beyond the last":   {[]string{"a"}, 1, map[int]string{0: "a", 1: "a"}, map[int]string{0: "a"}, 0},
		"an unknown person": {[]string{"a"}, 1, map[int]string{0: ""}, map[int]string{0: "a"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			next, moved := Assign(tc.members, tc.partitions, tc.current)
			if !maps.Equal(next, tc.want) || moved != tc.moved {
				t.Errorf("got %v, %d moved; want %v, %d", next, moved, tc.want, tc.moved)
			}
		})
	}
}

// drawAssignment draws members, a number of partitions, and who has them now;
// some have nobody, or one who is gone, and some are of a topic that was larger.
func drawAssignment(t *rapid.T, mostMembers, mostPartitions int) (members []string, partitions int, current map[int]string) {
	for i := range rapid.IntRange(1, mostMembers).Draw(t, "members") {
		members = append(members, fmt.Sprint("m", i))
	}
	members = rapid.Permutation(members).Draw(t, "by age")
	partitions = rapid.IntRange(0, mostPartitions).Draw(t, "partitions")
	owners := slices.Concat(members, members, []string{"", "gone1", "gone2"})
	current = make(map[int]string)
	for p := range partitions + 2 {
		if m := rapid.SampledFrom(owners).Draw(t, "owner"); m != "" {
			current[p] = m
		}
	}
	return members, partitions, current
}

func TestAssignProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members, partitions, current := drawAssignment(t, 12, 60)
		next, moved := Assign(members, partitions, current)

		load := make(map[string]int)
		for p := range partitions {
			if !slices.Contains(members, next[p]) {
				t.Fatalf("partition %d has %q, who is not one of %v", p, next[p], members)
			}
			load[next[p]]++
		}
		if len(next) != partitions {
			t.Fatalf("%d partitions assigned, there are %d", len(next), partitions)
		}
		least, most := math.MaxInt, 0
		for _, m := range members {
			least, most = min(least, load[m]), max(most, load[m])
		}
		if most-least > 1 {
			t.Fatalf("between %d and %d partitions each: %v", least, most, load)
		}
		if want := movedBetween(current, next); moved != want {
			t.Fatalf("%d moved, said to be %d", want, moved)
		}

		if again, moved := Assign(members, partitions, next); moved != 0 || !maps.Equal(again, next) {
			t.Fatalf("%d of its own moved again: %v, then %v", moved, next, again)
		}
		if same, _ := Assign(members, partitions, maps.Clone(current)); !maps.Equal(same, next) {
			t.Fatalf("another answer to the same question: %v, then %v", next, same)
		}
	})
}

func movedBetween(current, next map[int]string) (moved int) {
	for p, m := range next {
		if before, had := current[p]; had && before != m {
			moved++
		}
	}
	return moved
}

// No assignment that is as even moves fewer: all are tried.
func TestAssignMovesAsFewAsCanBe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		members, partitions, current := drawAssignment(t, 4, 6)
		_, moved := Assign(members, partitions, current)
		if fewest := fewestMoves(members, partitions, current); moved != fewest {
			t.Fatalf("%d moved, %d would do: members %v, %d partitions, before %v", moved, fewest, members, partitions, current)
		}
	})
}

func fewestMoves(members []string, partitions int, current map[int]string) int {
	load, next := make(map[string]int), make(map[int]string)
	share := partitions / len(members)
	fewest := math.MaxInt
	var try func(p int)
	try = func(p int) {
		if p == partitions {
			for _, m := range members {
				if load[m] < share || load[m] > share+1 {
					return
				}
			}
			fewest = min(fewest, movedBetween(current, next))
			return
		}
		for _, m := range members {
			load[m]++
			next[p] = m
			try(p + 1)
			load[m]--
			delete(next, p)
		}
	}
	try(0)
	return fewest
}
