# Everything but `cover`, `lint` and so `check` needs nothing besides Go.

GO       ?= go
BIN      := bin/penstock
FUZZTIME ?= 10s
TESTARGS ?=
# What `make check` leaves to `make test`: the fault tests, and whole programs.
# Single tests leave themselves out, by testing.Short.
SLOW     := /penstocktest/faults/|/cmd/penstock$$|/examples|/benchmarks
# What is too slow under the race detector, or about memory, and where it is. All of
# benchmarks leaves itself out under the race detector.
PLAIN    := JoinsAndLeaves|Idle|Stuck|Scale
PLAINPKG := ./penstocktest/faults/pipes ./penstocktest/faults/topics ./benchmarks
# Tests wait more than they compute: so many packages, and tests of a package, run at once.
WAITING  := -p 4 -parallel 4
# AGAIN=1 runs a failed test twice more, and names it at the end. Data races, panics and more
# than five failures are final.
AGAIN    ?=
GOTESTSUM := gotest.tools/gotestsum@v1.13.0
ARGS     ?=
GOVULN   := golang.org/x/vuln/cmd/govulncheck@v1.9.0
# A version of one's own; empty: Go's, from the module and its commit.
VERSION  ?=
LDFLAGS  := $(if $(VERSION),-X main.stamp=$(VERSION))
# What must compile besides the platform at hand: 32 bits, and no Unix.
PLATFORMS := linux/386 windows/amd64 darwin/arm64
# What decides without sockets and etcd, so that it can be tested as 32 bits.
NARROW   := ./messages/...
# Where test-etcds keeps the servers that it builds, of these modules.
ETCDS    ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/penstock-etcds
ETCDMODS := 3.5.mod 3.6.mod go.mod
# What it runs against each: delivery, groups and their leases, topics and their
# fences, roles, and an etcd that restarts, compacts, or is away.
ETCDTESTS := ^Test(Server|PortInUse|Doctor|MemberKilled|AtMostOnce|SenderRestarted|SeveralSenders|FlushWaits|GroupDeserted|GroupKeptForever|GroupOutlives|NoKeyOfAGroup|EtcdStopped|EtcdWiped|RestoredUnderLoad|EtcdRestarted|EtcdCompacted|LeaseRevoked|KeysDeleted|LinkCutWhile|RestoredRegistrations|CancelledJoin|BadInputDeletedTopic|BadInputLargeBatch|BeforeReleaseCommits|CommitIsNotUndone|LateCommitDoesNot|GroupBegins|SubscriptionsLeave|ProducerKilled|ConsumersKilled|SessionsLost|PartitionsAdded|LogSurvives|LeasesNot|NeverTwoOwners|UnsubscribeLeaves|Roles|RightsAre)
# The commit whose command test-upgrade runs beside this one: the wire that is in use.
RELEASED ?= ffc4ccd552b9ea0d5f74a593f5f46cc6cf41b1ba
# Where it keeps that command. With REQUIRED=1 it fails where the commit is not there.
RELEASES ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/penstock-releases
REQUIRED ?=
# The charts that the READMEs show.
CHARTS   := pipe.beside topic.beside pipe.size.cpu_ns_per_message topic.size.cpu_ns_per_message pipe.open.sweep topic.open.sweep recovery.recovery_ms scale.heap_bytes
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

# tests runs `go test` with flags and packages.
tests = $(if $(AGAIN),$(GO) run $(GOTESTSUM) --format pkgname-and-test-fails --format-hide-empty-pkg --hide-summary skipped --rerun-fails=2 --rerun-fails-max-failures=5 --rerun-fails-abort-on-data-race --rerun-fails-run-root-test --packages "$(2)" -- $(1),$(GO) test $(1) $(2))

# The race detector needs a C compiler; tests run without it where there is none.
RACE ?= $(if $(shell command -v "$$($(GO) env CC)" 2>/dev/null),-race,)

.DEFAULT_GOAL := help

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/penstock
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN) ./cmd/penstock

.PHONY: run
run: demo ## build, then watch messages flow, a member die, and nothing get lost

.PHONY: demo
demo: build ## the same; ARGS="--messages 100000 --json" for more
	./$(BIN) demo $(ARGS)

.PHONY: standalone-etcd
standalone-etcd: build ## run the embedded etcd on 127.0.0.1:2379, as `penstock serve` does
	./$(BIN) serve $(ARGS)

.PHONY: check
check: ## while you work: vet, the tests without the slow ones, lint; two minutes at most
	$(GO) vet ./...
	$(GO) test -short -p 4 $(TESTARGS) $$($(GO) list ./... | grep -Ev '$(SLOW)')
	@$(MAKE) --no-print-directory lint

.PHONY: test
test: ## before you land: vet and every test, under the race detector where there is a C compiler
	$(GO) vet ./...
	$(call tests,$(RACE) -vet=off $(WAITING) -timeout 25m $(TESTARGS),$$($(GO) list ./... $(if $(RACE),| grep -v '/benchmarks$$')))
	$(call tests,-count=1 -vet=off -timeout 25m -run '$(PLAIN)' $(TESTARGS),$(PLAINPKG))

.PHONY: vet-cross
vet-cross: ## vet for other platforms, 32-bit ones among them; test what can run as 32 bits
	@for p in $(PLATFORMS); do echo "vet $$p"; \
		CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) vet ./... || exit 1; done
	@if [ "$$($(GO) env GOHOSTOS)/$$($(GO) env GOHOSTARCH)" = linux/amd64 ] && \
		CGO_ENABLED=0 GOARCH=386 $(GO) test -run '^$$' ./messages/keys >/dev/null 2>&1; \
		then CGO_ENABLED=0 GOARCH=386 $(GO) test -vet=off $(NARROW) && CGO_ENABLED=0 GOARCH=386 $(GO) test -vet=off -run "Shard|Guard" ./supervisor; \
		else echo "32-bit programs do not run here: their tests are left out"; fi

.PHONY: test-nested
test-nested: ## test the nested modules: the protobuf generator, the shop, remote and the benchmarks' peers
	cd messages/pb/gen && $(GO) vet ./... && $(GO) test -vet=off ./...
	cd examples/shop && $(GO) vet ./... && $(GO) test -vet=off ./...
	cd penstocktest/faults/remote && $(GO) vet ./... && $(GO) test -vet=off ./...
	if [ -f benchmarks/peers/go.mod ]; then cd benchmarks/peers && $(GO) vet ./... && $(GO) test -vet=off ./...; fi
	if [ -f benchmarks/penstock-bench/go.mod ]; then cd benchmarks/penstock-bench && $(GO) vet ./... && $(GO) test -vet=off ./...; fi

.PHONY: shop
shop: ## restart and kill the eight processes of examples/shop under load, and count; ARGS="-rounds 20" for more
	cd examples/shop && $(GO) test -count=1 -timeout 2h -v -run TestChaos . $(ARGS)

.PHONY: test-etcds
test-etcds: ## test against etcd 3.5, 3.6 and 3.7 at once, built from their modules, in a minute and a half at most
	@mkdir -p "$(ETCDS)"
	@servers=; for m in $(ETCDMODS); do \
		v=$$(cd penstocktest/etcds && $(GO) list -m -modfile=$$m -f '{{.Version}}' go.etcd.io/etcd/server/v3) || exit 1; \
		(cd penstocktest/etcds && $(GO) vet -trimpath -modfile=$$m . && $(GO) build -modfile=$$m -trimpath -o "$(ETCDS)/etcd-$$v" .) || exit 1; \
		echo "etcd $$v"; servers="$$servers $$v"; \
	done; \
	ETCDS="$(ETCDS)" ETCDVERSIONS="$$servers" $(GO) test -count=1 -vet=off -short -parallel 8 -timeout 5m -run '$(ETCDTESTS)' \
		-exec "$(CURDIR)/penstocktest/etcds/each.sh" $(TESTARGS) \
		./penstocktest/internal/server ./penstocktest/faults/pipes ./penstocktest/faults/topics ./penstocktest/faults/runtimes \
		./cmd/penstock/internal/doctor

.PHONY: test-upgrade
test-upgrade: ## run the released command and this one side by side, while one replaces the other
	@if ! git cat-file -e $(RELEASED)^{commit} 2>/dev/null; then \
		echo "test-upgrade: commit $(RELEASED) is not in this copy of the history (a shallow clone or a tarball): nothing to compare with. git fetch --unshallow brings it."; \
		test -z "$(REQUIRED)"; exit; \
	fi; \
	mkdir -p "$(RELEASES)" && old="$(RELEASES)/penstock-$(RELEASED)"; \
	if [ ! -x "$$old" ]; then \
		src=$$(mktemp -d) && trap 'rm -rf "$$src"' EXIT && git archive $(RELEASED) | tar -x -C "$$src" && \
		(cd "$$src" && $(GO) build -buildvcs=false -o "$$old.part" ./cmd/penstock) && mv "$$old.part" "$$old" || exit 1; \
	fi; \
	PENSTOCK_RELEASED="$$old" $(GO) test -count=1 -vet=off -timeout 5m -run '^TestUpgrade$$' $(TESTARGS) ./cmd/penstock

.PHONY: bench-quick
bench-quick: ## compare with what one would use instead, in a minute and a half at most
	$(GO) run ./benchmarks/quick $(ARGS)

.PHONY: bench
bench: ## run the whole suite, beside its peers, in a quarter of an hour at most, and store what it measured
	cd benchmarks/penstock-bench && $(GO) build -trimpath -o ../../bin/penstock-bench .
	bin/penstock-bench run full $(ARGS)

.PHONY: bench-compare
bench-compare: ## compare the benchmarks beside the code with revision BASE, in ten minutes or so; PKGS=./supervisor BENCH=Ask for some
	@test -n "$(BASE)" || { echo "give a revision: make bench-compare BASE=main"; exit 2; }
	@GO="$(GO)" BENCH="$(BENCH)" PKGS="$(PKGS)" benchmarks/compare.sh "$(BASE)"

.PHONY: bench-report
bench-report: ## draw the charts of stored results: RESULTS="benchmarks/results/x.json"
	cd benchmarks/penstock-bench && $(GO) build -trimpath -o ../../bin/penstock-bench .
	bin/penstock-bench report $(ARGS) $(RESULTS)

.PHONY: bench-charts
bench-charts: ## draw the charts of the READMEs from stored results: RESULTS="benchmarks/results/x.json"
	@$(MAKE) --no-print-directory bench-report RESULTS="$(RESULTS)" ARGS="--out bin/report"
	@mkdir -p benchmarks/charts
	@for c in $(CHARTS); do cp "bin/report/$$c.png" benchmarks/charts/ || exit 1; done

.PHONY: fuzz
fuzz: ## fuzz every target for FUZZTIME each
	@grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n 1 dirname | sort -u | while read -r dir; do \
		for f in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$$dir"/*_test.go); do \
			echo "$$dir $$f"; \
			$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) "$$dir" || exit 1; \
		done; \
	done

.PHONY: cover
cover: ## coverage of all packages by all tests, as cover.html
	$(GO) test -coverpkg=./... -coverprofile=cover.out -timeout 25m ./...
	$(GO) tool cover -func=cover.out | tail -n 1
	$(GO) tool cover -html=cover.out -o cover.html

.PHONY: lint
lint: ## gofmt and golangci-lint, which Go fetches and builds the first time
	@fmt=$$(gofmt -l .); if [ -n "$$fmt" ]; then echo "gofmt -w these:"; echo "$$fmt"; exit 1; fi
	@$(GO) run $(GOLANGCI) version >/dev/null || { echo "golangci-lint is not installed, and Go could not fetch it. With a network, once:"; \
		echo "  $(GO) run $(GOLANGCI) version"; echo "It stays in the caches of Go. All the rest of \`make check\` does without it."; exit 1; }
	$(GO) run $(GOLANGCI) run
	cd examples/shop && $(GO) run $(GOLANGCI) run

.PHONY: govulncheck
govulncheck: ## look for known vulnerabilities in what is linked; needs a network
	$(GO) run $(GOVULN) ./...

.PHONY: generate
generate: ## write the protobuf code again
	cd messages/pb/gen && $(GO) run .

.PHONY: check-generated
check-generated: ## fail when the protobuf code is not current
	cd messages/pb/gen && $(GO) run . -check

.PHONY: tidy-check
tidy-check: ## fail when go.mod or go.sum is not tidy
	$(GO) mod tidy -diff
	cd penstocktest/etcds && for m in $(ETCDMODS); do $(GO) mod tidy -diff -modfile=$$m || exit 1; done
	cd messages/pb/gen && $(GO) mod tidy -diff
	cd examples/shop && $(GO) mod tidy -diff
	cd penstocktest/faults/remote && $(GO) mod tidy -diff
	cd benchmarks/peers && $(GO) mod tidy -diff
	cd benchmarks/penstock-bench && $(GO) mod tidy -diff

.PHONY: clean
clean: ## remove what the other targets made
	rm -rf bin cover.out cover.html
