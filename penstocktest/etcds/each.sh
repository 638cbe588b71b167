#!/usr/bin/env bash
# Runs a test binary against each etcd of ETCDVERSIONS, whose programs are in ETCDS, all at
# once: `make test-etcds` has go test -exec call it, so that the binary is linked once.
set -u
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
for v in $ETCDVERSIONS; do
	PENSTOCKTEST_ETCD="$ETCDS/etcd-$v" PENSTOCKTEST_ETCD_VERSION=$v "$@" >"$out/$v" 2>&1 || echo "against etcd $v" >>"$out/failed" &
done
wait
for v in $ETCDVERSIONS; do
	echo "=== etcd $v"
	cat "$out/$v"
done
if [ -e "$out/failed" ]; then
	sort "$out/failed" | sed 's/^/FAILED /'
	exit 1
fi
