# Peeltap: everything a person or the CI runs. The environment is .venv; scripts/setup.sh makes it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export PATH := $(CURDIR)/.venv/bin:$(HOME)/.cargo/bin:$(PATH):/usr/local/sbin:/usr/sbin:/sbin

CARGO := cargo
MANIFEST := --manifest-path core/Cargo.toml
PYTHON_SOURCES := pipeline reassembly suricata tap diversion fixtures tests bench
# More than cores: tests that drive devices and programs mostly wait for them.
PYTEST_WORKERS ?= 4
# For each fuzz target.
FUZZ_SECONDS ?= 3

.PHONY: help setup demo check test test-rust fuzz test-python test-vm bench bench-live bench-events bench-proxy bench-setup soak agent coverage fixtures clean

help: ## says what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 22

setup: ## makes .venv, builds the extension, installs what the tests need (as root)
	@scripts/setup.sh test

demo: ## the whole system, attacked: what Suricata says without and with peeltap
	@scripts/setup.sh demo
	@peeltap demo

check: ## linters and type checkers
	@scripts/setup.sh test
	ruff check .
	ruff format --check .
	$(CARGO) fmt $(MANIFEST) --check
# Both at once: mypy keeps one processor busy and no more.
	mypy & typed=$$!; $(CARGO) clippy $(MANIFEST) --all-targets --features python --quiet -- -D warnings \
	  || linted=$$?; wait $$typed && exit $${linted:-0}
	lint-imports --no-cache
	@if command -v shellcheck >/dev/null; then shellcheck scripts/*.sh .ci/run; else echo 'shellcheck is not installed: left out'; fi

test: check test-rust fuzz test-python ## everything that this machine can run; says what it left out
	@scripts/setup.sh --check test || { echo 'The tests that need these were left out.'; [[ "$${CI:-}" != true ]]; }

test-rust:
	@if cargo nextest --version >/dev/null 2>&1; then \
	  $(CARGO) nextest run $(MANIFEST) --no-fail-fast --status-level fail && $(CARGO) test $(MANIFEST) --doc --quiet; \
	else \
	  $(CARGO) test $(MANIFEST) --quiet; \
	fi

fuzz: ## every fuzz target for a few seconds, from its corpus
	@FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz.sh

test-python:
	pytest -n $(PYTEST_WORKERS) --dist loadgroup --no-loadscope-reorder

test-vm: ## VLANs and VRFs, in a virtual machine with a stock kernel; a part of make test
	@scripts/setup.sh test
	pytest tests/vm

bench-setup: ## 200 segments and 50,000 addresses with ports, beside a shell script; as root
	@python -m bench.setup

bench: ## measures peeltap beside cp, editcap, tcprewrite, dpkt and scapy
	@scripts/setup.sh bench
	@python -m bench

bench-live: ## measures the live service, as root; QUICK=1 for two minutes
	@scripts/setup.sh test
	@python -m bench.live $(if $(QUICK),--quick)

bench-events: ## measures events to file, Redis and Kafka beside jq and fever; QUICK=1 for less
	@scripts/setup.sh bench
	@python -m bench.events $(if $(QUICK),--quick) $(if $(EVENTS),--memory-events $(EVENTS))

soak: ## ten minutes of the live service, as root; SOAK_SECONDS=60 for less
	@scripts/setup.sh test
	@python -m bench.live.soak

bench-proxy: ## measures the proxies beside HAProxy doing the same hop
	@scripts/setup.sh bench
	@python -m bench.proxy

agent: ## builds build/peeltap-agent.pyz: the agent as one file, for any Python 3.9 or later
	@python3 scripts/make_agent.py

coverage: ## lines and branches of Python, lines of Rust, into coverage/
	@scripts/setup.sh test
	@scripts/coverage.sh

fixtures: ## records fixtures/captures anew, as root, in namespaces of its own
	@scripts/setup.sh test
	@python -m fixtures.record

clean: ## removes what was built, not .venv
	rm -rf build coverage .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
	$(CARGO) clean $(MANIFEST)
