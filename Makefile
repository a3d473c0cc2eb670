# make help lists the targets. Only Go is needed for build, demo, lint and the in-process tests.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

MODULES := schemas internal ingest normalizer consent dispatcher deploy test
STAGES  := ingest normalizer consent dispatcher
# Every program: the stages, the operator's tool and the quick start.
PROGRAMS := $(patsubst %/main.go,./%,$(wildcard $(STAGES:%=%/cmd/*/main.go) deploy/heed/main.go deploy/*/cmd/*/main.go))

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
# Static, without paths of the machine that built it, and it knows its version.
BUILD := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -X github.com/heedhq/heed/internal/service.version=$(VERSION)'

STATICCHECK  := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOLANGCILINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
# Judges of the contract's documents, which are not ours.
NPMTOOLS     := @redocly/cli@2.77.0 @asyncapi/parser@3.6.3

FUZZTIME ?= 60s
BENCH ?= .
BENCHTIME ?= 1s
ARGS ?=

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## bin/: the four stages, heed (the operator's tool), heed-demo (the quick start)
	@mkdir -p bin
	$(BUILD) -o bin/ $(PROGRAMS)

.PHONY: demo
demo: ## the four stages in one process; needs Go and nothing else (ARGS=--once plays the samples and ends)
	@mkdir -p bin
	$(BUILD) -o bin/ ./deploy/allinone/cmd/heed-demo
	bin/heed-demo $(ARGS)

.PHONY: test
test: ## every test, in-process and on real Kafka and Redis; the last lines say what ran on real servers
	@bash test/all.sh

.PHONY: race
race: ## every test under the race detector
	@GOFLAGS=-race bash test/all.sh

.PHONY: e2e
e2e: ## the end-to-end scripts alone, in-process and with four real processes
	go test -count=1 -v -timeout 20m ./test/e2e/...

.PHONY: lint
lint: ## formatting, vet, each module on its own, import rules, shell scripts; staticcheck and golangci-lint after make tools
	@unformatted=$$(gofmt -l $$(git ls-files '*.go')); \
	if [ -n "$$unformatted" ]; then echo "gofmt -w these:"; echo "$$unformatted"; exit 1; fi
	go vet work
	@failed=; for module in $(MODULES); do \
		echo "$$module on its own: GOWORK=off go build ./..."; (cd $$module && GOWORK=off go build ./...) || failed=1; \
	done; [ -z "$$failed" ] || { echo "each module must build alone; make tidy mends go.mod and go.sum"; exit 1; }
	go test -count=1 ./internal/arch
	@bash schemas/lint.sh
	@for script in $$(git ls-files '*.sh' .ci/run); do bash -n $$script; done
	@if command -v shellcheck >/dev/null; then echo shellcheck; shellcheck $$(git ls-files '*.sh' .ci/run); \
	else echo "shellcheck did not run: it is not here"; fi
	@if [ -x .cache/bin/staticcheck ]; then echo staticcheck; .cache/bin/staticcheck work; \
	else echo "staticcheck did not run: make tools installs it"; fi
	@if [ -x .cache/bin/golangci-lint ]; then \
		failed=; for module in $(MODULES); do echo "golangci-lint $$module"; (cd $$module && ../.cache/bin/golangci-lint run ./...) || failed=1; done; [ -z "$$failed" ]; \
	else echo "golangci-lint did not run: make tools installs it"; fi

.PHONY: tools
tools: ## the pinned linters, into .cache/bin (some minutes, once)
	GOBIN=$(CURDIR)/.cache/bin go install $(STATICCHECK)
	GOBIN=$(CURDIR)/.cache/bin go install $(GOLANGCILINT)
	@if command -v npm >/dev/null; then mkdir -p .cache/npm && npm install --no-audit --no-fund --silent --prefix .cache/npm $(NPMTOOLS); \
	else echo "npm is not here: the AsyncAPI and OpenAPI documents will not be judged by foreign tools"; fi

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME (60s)
	@grep -rlE --include='*_test.go' '^func Fuzz' $(MODULES) | xargs -r -n1 dirname | sort -u | while read -r package; do \
		for target in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$package/*_test.go | sed 's/^func //'); do \
			echo "== ./$$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzzminimizetime 10x -fuzztime $(FUZZTIME) ./$$package; \
		done; \
	done

.PHONY: bench
bench: ## benchmarks, as ratios against a floor measured in the same run (BENCH=regexp, BENCHTIME=1s)
	go test -p 1 -run '^$$' -bench '$(BENCH)' -benchtime $(BENCHTIME) -benchmem -timeout 30m \
		$$(grep -rlE --include='*_test.go' '^func Benchmark' $(MODULES) | xargs -r -n1 dirname | sort -u | sed 's#^#./#') \
		| grep --line-buffered -vE '^(goos|goarch|cpu): |^PASS$$'

.PHONY: golden
golden: ## write every want.json anew from what the adapters make now; read the diff
	go test -count=1 $$(ls -d normalizer/providers/*/testdata | sed 's#^#./#; s#/testdata##') -update

.PHONY: provider
provider: ## a new provider's folder: make provider NAME=acme
	@[ -n "$(NAME)" ] || { echo "usage: make provider NAME=acme"; exit 2; }
	@bash normalizer/providers/new.sh "$(NAME)"

.PHONY: up
up: ## Kafka, Redis and the four stages with docker compose; waits until all are healthy
	docker compose up --detach --build --wait

.PHONY: down
down: ## end what make up started and drop its data
	docker compose down --volumes

.PHONY: tidy
tidy: ## every module's go.mod and go.sum
	@for module in $(MODULES); do echo "go mod tidy ($$module)"; (cd $$module && GOWORK=off go mod tidy); done
	gofmt -w $$(git ls-files '*.go')

.PHONY: ci
ci: ## what CI runs: installs what is missing, builds, lints, tests; real servers are required
	bash .ci/run
