# customersync. "make help" lists what there is.
GO ?= go
GOLANGCI := $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
BENCHSTAT := $(GO) run golang.org/x/perf/cmd/benchstat@v0.0.0-20250214215153-c95ad7d5b636
COUNT ?= 6
FUZZTIME ?= 20s
SEEDS ?= 1000
SEED ?= 0
SCALE ?= 1

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

.PHONY: demo
demo: postgres build ## show the main job on a throw-away database and a simulated Auth0
	@bin/customersync demo

.PHONY: test
test: postgres pgbouncer node chromium cc ## run all tests, on a real Postgres
	$(GO) test -race -shuffle=on -timeout 15m ./...

.PHONY: test-pgbouncer
test-pgbouncer: postgres pgbouncer node chromium cc ## the same with every database behind a PgBouncer in transaction mode
	CUSTOMERSYNC_TEST_PGBOUNCER=true $(GO) test -timeout 20m ./store ./worker/... ./api/... ./cmd/customersync

.PHONY: build
build: ## build bin/customersync
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/customersync ./cmd/customersync

.PHONY: check
check: ## format, vet, lint, import rules, module files
	@test -z "$$(gofmt -l .)" || { echo "not gofmt'ed:"; gofmt -l .; exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags failpoints ./store
	$(GO) mod verify
	$(GO) mod tidy -diff
	.ci/imports
	$(GOLANGCI) run ./...

.PHONY: fuzz
fuzz: ## run every fuzz target for FUZZTIME
	.ci/fuzz $(FUZZTIME)

.PHONY: convergence
convergence: postgres cc ## drive SEEDS worlds through every lane and hold the rows against the rule
	$(GO) test -count=1 -timeout 60m -run TestEveryLaneConverges ./worker -converge.seeds=$(SEEDS)

.PHONY: bench
bench: postgres wrk curl build ## compare with the bare limit: pgbench, COPY, net/http; ten minutes, figures in bin/bench.json
	$(GO) build -trimpath -o bin/bench ./cmd/bench
	bin/bench -json bin/bench.json

.PHONY: bench-growth
bench-growth: postgres wrk curl build ## the same at ten million customers, fewer rounds, without linking; half an hour, 12 GB of disk
	$(GO) build -trimpath -o bin/bench ./cmd/bench
	bin/bench -customers 10000000 -rounds 2 -only tick,read,list,patch,create,webhook -json bin/bench-growth.json

.PHONY: microbench
microbench: ## Go benchmarks; compared with bin/microbench.old if there is one
	@mkdir -p bin
	$(GO) test -run '^$$' -bench . -count $(COUNT) ./api ./customer ./auth0sync | tee bin/microbench.new
	@[ ! -e bin/microbench.old ] || $(BENCHSTAT) bin/microbench.old bin/microbench.new

.PHONY: bench-pages
bench-pages: postgres ## how long each page of the operator page takes at a million customers: median and 99th percentile
	$(GO) test ./api/ops -run '^$$' -bench Pages -benchtime 100x -timeout 20m

.PHONY: attacks
attacks: postgres cc ## attack the daemon in full, for half an hour; SEED=n replays what a seed made
	.ci/attacks $(SEED)

.PHONY: mutants
mutants: postgres ## take each guard away in a copy and see that a test notices
	.ci/mutants

.PHONY: trials
trials: postgres pgbouncer ## inject faults and count what is lost; SCALE multiplies the rounds, SEED replays
	$(GO) run ./cmd/trials -scale $(SCALE) $(if $(filter-out 0,$(SEED)),-seed $(SEED))

.PHONY: docs
docs: build ## write the generated parts of the README and of deploy/docs
	.ci/docs

.PHONY: alerts
alerts: promtool ## test the alerts, and have Prometheus read every query of the dashboard
	.ci/alerts

.PHONY: deploy-check
deploy-check: build promtool node ## lint, render and start what is in deploy/; the tools are built first, which takes long once
	.ci/deploy

.PHONY: postgres
postgres: ## see that a Postgres server is installed
	@.ci/install initdb postgresql postgresql@17

.PHONY: pgbouncer
pgbouncer: ## see that PgBouncer is installed: a trial has the daemon behind it
	@.ci/install pgbouncer pgbouncer pgbouncer

.PHONY: wrk
wrk: ## see that wrk is installed: it loads the API in benchmarks
	@.ci/install wrk wrk wrk

.PHONY: curl
curl: ## see that curl is installed
	@.ci/install curl curl curl

.PHONY: promtool
promtool: ## see that promtool is installed: it tests the alerts
	@.ci/install promtool prometheus prometheus

.PHONY: chromium
chromium: ## see that Chromium is installed: tests look at the operator page in it, and keep what they saw in bin/screenshots
	@.ci/install chromium chromium chromium

.PHONY: cc
cc: ## see that a C compiler is installed: the race detector needs one
	@.ci/install gcc "gcc libc6-dev" gcc

.PHONY: node
node: ## see that Node.js is installed: one test runs the Auth0 Actions in it
	@.ci/install node nodejs node
