# Quartermaster on one machine. `make` or `make help` lists what there is.
PYTHON ?= python3
QM_VENV ?= .venv
export QM_VENV
# A process imports thousands of modules; to compile them anew takes seconds of each start.
unexport PYTHONDONTWRITEBYTECODE
BIN = $(QM_VENV)/bin
RUN = $(BIN)/python -m
# Beside throw-away servers, for commands that read the settings.
BESIDE = $(RUN) sandbox.stores --throwaway -- $(BIN)/python
CHECKS = check-format check-lint check-types check-imports check-django check-requirements check-audit

.DEFAULT_GOAL := help
.PHONY: help up down reset traffic-on traffic-off base dev parts part-chromium part-controlplane part-engine check $(CHECKS) test test-rules test-browser test-walks test-controllers e2e bench fmt schema requirements

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' Makefile

up: base  ## start everything on this machine and stay; Ctrl-C stops it
	@exec $(RUN) sandbox.up --end-with-parent

down: base  ## stop what `make up` started
	@$(RUN) sandbox.up.control down

reset: base  ## stop it and delete its data; asks first
	@$(RUN) sandbox.up.control reset

traffic-off: base  ## quieten the demo's clients
	@$(RUN) sandbox.up.control traffic-off

traffic-on: base  ## and let them speak again
	@$(RUN) sandbox.up.control traffic-on

base:
	@$(PYTHON) sandbox/bootstrap.py base

dev:
	@$(PYTHON) sandbox/bootstrap.py dev

check: $(CHECKS)  ## format, lint, types, import contracts, migrations, requirements, audit

check-format: dev
	$(BIN)/ruff format --check .

check-lint: dev
	$(BIN)/ruff check .

check-types: dev
	$(BESIDE) -m mypy

check-imports: dev
	$(BIN)/lint-imports

check-django: dev
	$(BESIDE) manage.py check --fail-level WARNING
	$(BESIDE) manage.py makemigrations --check --dry-run

check-requirements: dev
	$(RUN) sandbox.quality.requirements

check-audit: dev
	$(RUN) sandbox.quality.audit

# What takes minutes to build or install comes first, so that no test's time limit counts it.
PARTS = part-chromium part-controlplane part-engine
parts: dev
	@$(MAKE) --no-print-directory -j 3 $(PARTS)

part-chromium:
	@$(RUN) sandbox.quality.chromium

part-controlplane:
	@$(RUN) sandbox.controlplane.build

part-engine:
	@$(RUN) sandbox.engines.vllm_env || true  # tests without it say why, and how to get it

# Two files at a time, each worker with a database, a cluster, an installation of its own: most of
# them wait more than they compute. What measures a start wants the machine for itself. A browser's
# event loop and its committed rows end with its process.
PAIRED = -n 2 --dist loadfile --no-loadscope-reorder

# What needs none of the parts runs while they are made; the rest waits for both. The walks wait
# more than they compute, so the browser's tests run beside them, page by page.
test: dev  ## every test; installs or builds what they need
	@$(MAKE) --no-print-directory -j 4 $(PARTS) test-rules
	$(RUN) pytest tests/cluster tests/engine $(PAIRED) -n 4 -m "cluster or engine" --durations=15
	$(RUN) pytest tests/sandbox -m alone
	@$(MAKE) --no-print-directory -j 2 test-browser test-walks

test-rules: dev
	$(RUN) pytest $(PAIRED) -m "not (cluster or engine or alone or browser or e2e)"

test-browser: dev
	$(RUN) pytest tests/browser -n 1

# A walk with real engines beside the others, which share one installation where they can.
test-walks: dev
	$(RUN) pytest tests/e2e $(PAIRED) --durations=15

# Others' controllers from their sources, in place of the stand-ins that `make test` has.
test-controllers: dev part-controlplane  ## with the real LeaderWorkerSet and Kueue: builds them first
	@$(RUN) sandbox.controllers.build
	QM_CONTROLLERS=real $(RUN) pytest tests/cluster/test_rollouts_spanning.py -k leader_worker
	$(RUN) pytest tests/controllers

e2e: parts  ## only the walks through the whole product
	@$(MAKE) --no-print-directory test-walks

bench: dev  ## the benchmarks; each prints its ratios
	$(RUN) bench

fmt: dev  ## bring the source into form
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

schema: dev  ## write the OpenAPI schema of the REST API
	$(BESIDE) manage.py spectacular --validate --fail-on-warn --file docs/api/openapi.yaml

requirements: dev  ## compile requirements/*.txt from pyproject.toml
	$(RUN) sandbox.quality.requirements --write
