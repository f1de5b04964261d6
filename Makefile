# Every target sets up what it needs: a clone, Python 3.11 or newer and `make` are enough.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready

# Three processes, each with a server of its own: most tests wait more than they work. A file's tests stay together.
PYTEST := $(PY) -m pytest -n 3 --dist loadfile

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test test-all check mypy pyright layers fmt chaos properties bench lock setup browser pgbouncer
.DEFAULT_GOAL := help

help:
	@echo 'make demo [SECONDS=20]  the example shop: app, worker, traffic, dashboard (until Ctrl-C, or for SECONDS)'
	@echo 'make test [ARGS=...]    all checks, then the suite on the embedded PostgreSQL'
	@echo 'make test-all           with the long tests, the suite on PostgreSQL 15 too, and the wheel from an empty folder'
	@echo 'make check              format, lint, types, layers'
	@echo 'make fmt                format, and mend what ruff can mend'
	@echo 'make chaos [ARGS=...]   events, jobs, schedules and triggers under kill -9: nothing lost, nothing twice'
	@echo 'make properties         1,000 schedules of 50 steps, against the promises of delivery: no counter-example'
	@echo 'make bench              the figures of docs/performance.md, peers in the same run'
	@echo 'make lock               re-make requirements-dev.lock'

setup: $(READY)

$(READY): requirements-dev.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --require-hashes --requirement requirements-dev.lock
	$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(BENCH_READY): $(READY)
	$(PY) -m pip install --quiet --no-build-isolation --editable '.[bench]'
	@touch $@

browser: $(READY)
	@.ci/browser

pgbouncer: $(READY)
	@.ci/pgbouncer

demo: $(READY)
	EVENTS_DEV=1 $(PY) -m example_app.demo $(if $(SECONDS),--seconds $(SECONDS))

check: $(READY)
	$(PY) -m ruff format --check .
	$(PY) -m ruff check .
	@$(MAKE) --no-print-directory -j2 pyright mypy layers

mypy: $(READY)
	$(PY) -m mypy --strict fastapi_events

pyright: $(READY)
	$(PY) -m pyright

layers: $(READY)
	$(VENV)/bin/lint-imports --no-cache

test: check browser pgbouncer
	$(PYTEST) -m "not long" $(ARGS)

# The rooms left out need no server of ours: a second run would repeat the first.
test-all: check browser pgbouncer
	$(PYTEST) $(ARGS)
	.ci/with-postgresql 15 $(PYTEST) --ignore=tests/embedded --ignore=tests/packaging --ignore=tests/settings $(ARGS)
	$(PY) .ci/wheel_check.py

fmt: $(READY)
	$(PY) -m ruff format .
	$(PY) -m ruff check --fix .

chaos: $(READY)
	$(PY) -m tests.chaos $(ARGS)

properties: $(READY)
	$(PY) -m tests.properties $(ARGS)

bench: $(BENCH_READY)
	$(PY) -m benchmarks $(ARGS)

lock: $(READY)
	PY=$(PY) .ci/lock
