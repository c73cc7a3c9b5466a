# radish: make help lists the targets. Everything below needs Go and a C compiler only.
SHELL := /bin/bash
GO ?= go
FUZZTIME ?= 1m
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
# go-nvml resolves its library at run time: binding must stay lazy, or the binary dies on a machine without a driver.
# Its header marks half of NVML as deprecated; gcc would print each use.
export CGO_CFLAGS ?= -O2 -g -Wno-deprecated-declarations
LDFLAGS := -X main.version=$(VERSION) -extldflags=-Wl,-z,lazy

.PHONY: help man build test race lint bench fuzz demo e2e kernels gputest clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

build: ## build bin/radish
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/radish ./cmd/radish

test: build ## run every test that needs no GPU, the import table and the formatting check included
	$(GO) vet ./...
	@bad=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$bad" || { echo "gofmt: $$bad"; exit 1; }
	$(GO) test ./...

race: ## run the concurrent rooms' tests under the race detector
	$(GO) test -race ./server/engine/... ./server/api/... ./server/runner/... ./server/sched/... ./server ./doctor/... ./provision/...

lint: ## vet and, where installed, staticcheck
	$(GO) vet ./...
	@if command -v staticcheck >/dev/null; then staticcheck ./...; else echo "staticcheck is not installed: only vet ran"; fi

bench: ## run the Go benchmarks once each; they print, they never fail on time
	$(GO) test -run '^$$' -bench . -benchtime 200ms ./kernels/... ./server/...

fuzz: ## run every fuzz target for a minute
	@for p in $$(grep -rl --include='*_test.go' '^func Fuzz' kernels server doctor provision 2>/dev/null | xargs -r -n1 dirname | sort -u); do \
	  for f in $$(grep -hoE '^func Fuzz[A-Za-z0-9_]+' $$p/*_test.go | cut -c6- | sort -u); do \
	    echo "== $$p $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) ./$$p || exit 1; \
	  done; done

demo: build ## serve the builtin model, ask it one streamed question twice, stop
	@bash scripts/demo.sh

e2e: build ## run the foreign clients: OpenAI's for Node, real Pythons, Hugging Face's (needs node, npm, python3 with venv)
	@bash scripts/e2e/run.sh
	@python3 scripts/e2e/python.py bin/radish
	@bash scripts/e2e/hub.sh

kernels: ## recompile the CUDA images that radish embeds (fetches NVIDIA's NVRTC into a private prefix)
	$(GO) run ./scripts/kernels -nvrtc "$$(scripts/kernels/toolkit.sh)"

man: build ## write the manual pages into bin/man/man1
	bin/radish man bin/man/man1

gputest: ## everything that only a machine with an NVIDIA GPU can judge
	scripts/gpu/test.sh

clean: ## remove what build made
	rm -rf bin
