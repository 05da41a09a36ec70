# Everything a checkout needs. `make demo` and `make test` do their own set-up; nothing below
# `install`, `install-peers`, `install-long` and the first `bench-queues`, `bench-loading`,
# `bench-training` and `bench-serving` needs a network.
PYTHON ?= python3
# For example TORCH_OPTIONS="--index-url ..." to take torch from another index, such as one with CUDA.
TORCH_OPTIONS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := -m pip --disable-pip-version-check --quiet
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)
INSTALLED := $(VENV)/.installed
TOOLS := .venv-tools/.installed
PEERS := .venv-peers/.installed
PB6 := .venv-pb6/.installed
KSERVE := .venv-kserve/.installed
NODE := .venv-node/.installed
QUEUES := $(patsubst %,.venv-bench-%/.installed,rq celery dramatiq arq)
READERS := .venv-bench-loading/.installed
TRAINERS := .venv-bench-training/.installed
SERVERS := $(patsubst %,.venv-bench-serving-%/.installed,triton mosec mlserver)
PROTOBUF_6 := 'grpcio==1.81.*' 'grpcio-health-checking==1.81.*' 'grpcio-reflection==1.81.*' 'protobuf>=6.33.5,<7' 'googleapis-common-protos>=1.66'

.PHONY: help install install-peers install-long test long check demo bench bench-reloads bench-queues bench-loading bench-training bench-serving bench-gpu protos protos-image clean

help: ## This list.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 16

install: $(INSTALLED) $(TOOLS) ## Makes .venv with the twofold command and everything for tests.

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) install $(TORCH_OPTIONS) -c constraints.txt '$(TORCH)'
	$(BIN)/python $(PIP) install -c constraints.txt -e '.[embedded,dev]'
	@touch $@

# protoc's plugins want another protobuf than the services may have.
$(TOOLS): tools/protos-requirements.txt
	$(PYTHON) -m venv .venv-tools
	.venv-tools/bin/python $(PIP) install -r tools/protos-requirements.txt
	@touch $@

install-peers: $(PEERS) $(PB6) ## Makes what tests marked "peers" need: tritonclient; protobuf 6.

$(PEERS): pyproject.toml
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python $(PIP) install 'tritonclient[grpc]==2.73.*' 'protobuf>=6.33.5,<7' -e '.[client]'
	@touch $@

install-long: $(KSERVE) $(NODE) ## Makes what tests marked "long" need: the KServe SDK; Node's gRPC by npm.

$(KSERVE):
	$(PYTHON) -m venv .venv-kserve
	.venv-kserve/bin/python $(PIP) install 'kserve==0.21.*' 'protobuf>=6.33.5,<7'
	@touch $@

$(NODE): tests/inferer/conformance/peers/package.json
	mkdir -p .venv-node
	cp $< .venv-node/
	npm install --prefix .venv-node --silent --no-audit --no-fund
	@touch $@

# Shadows .venv's gRPC and protobuf by older ones and takes all else from there.
$(PB6): $(INSTALLED)
	$(PYTHON) -m venv .venv-pb6
	.venv-pb6/bin/python $(PIP) install $(PROTOBUF_6)
	@.venv-pb6/bin/python tools/share_packages.py $(VENV)
	@touch $@

test: install ## Runs the tests with branch coverage, then a fixed share of the chaos seeds.
	$(BIN)/pytest -n 2 --dist loadfile -rs -m 'not gpu and not long' --cov --cov-report=term:skip-covered --cov-fail-under=90
	$(BIN)/python -m tests.chaos.share

long: install install-long ## Other people's clients and a real Prometheus; breaks things for 45 minutes with new seeds; extends docs/reliability-ledger.md.
	$(BIN)/pytest -rs -m long
	$(BIN)/python -m tests.chaos.long

check: install ## Format, lint, types, imports, protos.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/basedpyright
	$(BIN)/lint-imports
	cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf breaking --against image.binpb
	tools/protos.sh --check
	$(BIN)/python -m tools.config_table --check
	$(BIN)/python -m tools.spec_reference --check

demo: install ## Shows everything once with real data.
	$(BIN)/twofold demo

bench: install ## Measures latencies of the whole path.
	$(BIN)/python -m bench.latency

bench-reloads: install ## Reloads and rolls back under load; what fails, what is mixed, p99, memory (2 min).
	$(BIN)/python -m bench.reloads

bench-queues: install $(QUEUES) ## Compares queues under the same kills, in environments of their own (8 min).
	$(BIN)/python -m bench.queues

bench-loading: install $(READERS) ## Compares reading 1M rows with pyarrow, polars and pandas (1 min).
	$(BIN)/python -m bench.loading

bench-training: install $(TRAINERS) ## Compares training with hand-written loops, Lightning and others (20 min).
	$(BIN)/python -m bench.training

bench-serving: install $(SERVERS) ## Compares serving with Triton, mosec and others; wants Debian's nghttp2-client (11 min).
	$(BIN)/python -m bench.serving

bench-gpu: install ## Measures the trainer's steps on a GPU; python -m bench.gpu needs no service.
	$(BIN)/python -m bench.gpu

# Sees .venv's packages, so that everybody runs the same torch.
$(TRAINERS): bench/peers/training.txt $(INSTALLED)
	$(PYTHON) -m venv .venv-bench-training
	.venv-bench-training/bin/python tools/share_packages.py $(VENV)
	.venv-bench-training/bin/python $(PIP) install -r $<
	@touch $@

# See .venv's torch, likewise; numpy and protobuf are their own.
$(SERVERS): .venv-bench-serving-%/.installed: bench/peers/serving-%.txt $(INSTALLED)
	$(PYTHON) -m venv .venv-bench-serving-$*
	.venv-bench-serving-$*/bin/python tools/share_packages.py $(VENV)
	.venv-bench-serving-$*/bin/python $(PIP) install -r $<
	@touch $@

$(QUEUES) $(READERS): .venv-bench-%/.installed: bench/peers/%.txt
	$(PYTHON) -m venv .venv-bench-$*
	.venv-bench-$*/bin/python $(PIP) install -r $<
	@touch $@

protos: $(INSTALLED) $(TOOLS) ## Makes the stubs from protos/.
	tools/protos.sh

protos-image: $(INSTALLED) ## Takes today's protos as what `buf breaking` compares with; at a release.
	cd protos && ../$(BIN)/buf build --exclude-source-info -o image.binpb

clean: ## Removes what the targets above made.
	rm -rf .venv .venv-tools .venv-peers .venv-pb6 .venv-kserve .venv-node .venv-bench-* .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.* build dist *.egg-info
