package demo

import "testing"

func TestDemoText(t *testing.T) {
	lines, err := readLines("")
	if err != nil || len(lines) < 30 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	for _, n := range []int{0, 7, len(lines), 12345} {
		got, err := numberOf(numbered(lines, n))
		if err != nil || got != n {
			t.Errorf("%d is read as %d, %v", n, got, err)
		}
	}
	for _, bad := range []string{"", "x 1", "-1 a", "99999999999 a"} {
		if n, err := numberOf([]byte(bad)); err == nil {
			t.Errorf("%q is read as %d", bad, n)
		}
	}
}
