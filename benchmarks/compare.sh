#!/bin/sh
# Compares the benchmarks beside the code on two revisions, in rounds that alternate:
#
#	benchmarks/compare.sh BASE
#
# BENCH is a regular expression of their names, PKGS are the packages, COUNT the rounds,
# TIME is how long each benchmark runs, and LIMIT after how many seconds no other round
# begins. What differs is said by benchstat, of which there is no less than one round.
set -eu

base=${1:?"usage: benchmarks/compare.sh BASE"}
BENCH=${BENCH:-.} COUNT=${COUNT:-6} TIME=${TIME:-100ms} LIMIT=${LIMIT:-600}
benchstat=golang.org/x/perf/cmd/benchstat@v0.0.0-20260908200009-22c9c6c9d4da
go=${GO:-go}

root=$(git rev-parse --show-toplevel)
cd "$root"
commit=$(git rev-parse --verify --quiet "$base^{commit}") || { echo "there is no revision $base" >&2; exit 2; }
dir=$(mktemp -d)
clean() {
	cd "$root"
	git worktree remove --force "$dir/base" 2>/dev/null || true
	rm -rf "$dir"
}
trap clean EXIT
trap 'exit 130' INT TERM
git worktree add --quiet --detach "$dir/base" "$commit"

# Packages of this module that have benchmarks on both sides.
list=$($go list -f '{{.Dir}}' ${PKGS:-./...} | sed "s|^$root|.|")
pkgs=
for p in $list; do
	grep -qs '^func Benchmark' "$p"/*_test.go && grep -qs '^func Benchmark' "$dir/base/$p"/*_test.go && pkgs="$pkgs $p"
done
[ -n "$pkgs" ] || { echo "no package has benchmarks on both sides" >&2; exit 2; }

mkdir "$dir/bin"
binary() { echo "$dir/bin/$1$(echo "$2" | tr -c 'a-zA-Z0-9\n' _)"; } # side, package
for p in $pkgs; do
	(cd "$dir/base" && $go test -c -o "$(binary base "$p")" "$p")
	$go test -c -o "$(binary new "$p")" "$p"
done

run() { # side, its root, package
	(cd "$2/$3" && "$(binary "$1" "$3")" -test.run '^$' -test.bench "$BENCH" -test.benchtime "$TIME" -test.benchmem -test.timeout 5m) >>"$dir/$1.txt" 2>"$dir/errors" || {
		echo "$1, $3:" >&2; tail -n 20 "$dir/errors" >&2; exit 1
	}
}
began=$(date +%s)
round=1
while [ "$round" -le "$COUNT" ]; do
	if [ "$round" -gt 1 ] && [ $(($(date +%s) - began)) -ge "$LIMIT" ]; then
		echo "after $LIMIT s, with $((round - 1)) rounds of $COUNT: TIME, LIMIT, BENCH and PKGS change that" >&2
		break
	fi
	echo "round $round of $COUNT" >&2
	for p in $pkgs; do
		if [ $((round % 2)) = 1 ]; then
			run base "$dir/base" "$p"; run new "$root" "$p"
		else
			run new "$root" "$p"; run base "$dir/base" "$p"
		fi
	done
	round=$((round + 1))
done
cd "$dir"
$go run $benchstat "$base=base.txt" "new=new.txt"
