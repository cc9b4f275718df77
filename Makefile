# Two commands do everything on a fresh machine:  make demo   ·   make test
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TORCH ?= torch==2.13.0
# Without a GPU the CPU build is a tenth of the size. Where this index cannot be reached, pip's own index is asked.
TORCH_CPU_INDEX ?= https://download.pytorch.org/whl/cpu
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
TEST_PROCESSES ?= 2
# Which Python runs the proof with Ray, where that is kept apart from the rest.
RAY_PYTHON ?= $(BIN)/python
# Data sets kept beside the checkout, if any; without them the tests that need them skip and say so.
BANYAN_DATA ?= $(wildcard $(abspath ../shared/data))
ifneq ($(BANYAN_DATA),)
export BANYAN_DATA
endif

.PHONY: demo test test-browser test-postgres lint types format tiny wheel-check proof-training proof-training-short proof-distributed proof-transfer proof-joint proof-pictures proof-serving proof-goals proof-goals-short proof-fuzz proof-ray clean help

help: ## Show these targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

demo: $(VENV)/.ready ## Set up and grow a small model on what this machine already has (about 10 minutes)
	$(BIN)/banyan demo $(DEMO)

test: $(VENV)/.ready-dev ## Set up and run the tests (those of the page: make test-browser)
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile -m 'not browser' $(PYTEST)

test-browser: $(VENV)/.ready-dev ## The page in a headless Chromium (Debian packages chromium, chromium-driver)
	$(BIN)/python -m pytest -m browser $(PYTEST)

test-postgres: $(VENV)/.ready-dev ## The tests that need a database server, on the PostgreSQL at BANYAN_TEST_POSTGRES
	$(BIN)/python -c 'import psycopg' 2>/dev/null || $(PIP) install --editable '.[postgres]'
	$(BIN)/python -m pytest tests/store tests/cli/test_train.py $(PYTEST)

lint: $(VENV)/.ready-dev ## ruff: style and format
	$(BIN)/ruff check --no-cache src tests benchmarks proofs
	$(BIN)/ruff format --check src tests benchmarks proofs

types: $(VENV)/.ready-dev ## mypy --strict
	$(BIN)/mypy src

format: $(VENV)/.ready-dev ## Rewrite the sources in the common format
	$(BIN)/ruff check --fix src tests benchmarks proofs
	$(BIN)/ruff format src tests benchmarks proofs

tiny: $(VENV)/.ready ## Train, sample, serve at the smallest size
	$(BIN)/banyan demo --quick

wheel-check: $(VENV)/.ready-dev ## Build a wheel and use it outside the checkout
	$(BIN)/python tests/wheel_check.py

proof-training: $(VENV)/.ready-dev ## Every fault of docs/proofs/training.md; goes on where it stopped (PROOF='--only D-01')
	$(BIN)/python -m proofs.training --page $(PROOF)

proof-training-short: $(VENV)/.ready-dev ## The same in 90 seconds
	$(BIN)/python -m proofs.training --quick

proof-distributed: $(VENV)/.ready-dev ## Equal losses at 1, 2 and 4 ranks, however the work is divided (docs/proofs/distributed.md)
	$(BIN)/python -m proofs.distributed $(PROOF)

proof-transfer: $(VENV)/.ready-dev ## What a pretrained trunk gains small tasks; goes on where it stopped (docs/transfer.md)
	$(BIN)/python -m proofs.transfer --page $(PROOF)

proof-joint: $(VENV)/.ready-dev ## Many tasks in one model, joint against alone; goes on where it stopped (docs/joint.md)
	$(BIN)/python -m proofs.joint --page $(PROOF)

proof-pictures: $(VENV)/.ready-dev ## Five sets, from files to figures of what is drawn; goes on where it stopped (docs/pictures.md)
	$(BIN)/python -m proofs.pictures --page $(PROOF)

proof-serving: $(VENV)/.ready-dev ## A thousand stored answers, given again bit for bit in five companies (docs/proofs/serving.md)
	$(BIN)/python -m proofs.serving $(PROOF)

proof-goals: $(VENV)/.ready-dev ## Servers killed, drained, cut off from their database, …; goes on where it stopped (docs/proofs/serving-goals.md)
	$(BIN)/python -m proofs.serving.goals --page $(PROOF)

proof-goals-short: $(VENV)/.ready-dev ## A short form of the same
	$(BIN)/python -m proofs.serving.goals --quick

proof-fuzz: $(VENV)/.ready-dev ## Of these the fuzzing alone: requests, model directories, texts that look like control tokens
	$(BIN)/python -m proofs.serving.goals --page --only G9 G11 G13 $(PROOF)

proof-ray: $(VENV)/.ready-dev ## Two replicas under Ray Serve over one PostgreSQL, one killed in the middle (docs/guides/serving.md)
	$(RAY_PYTHON) -c 'import ray.serve, psycopg' 2>/dev/null || $(PIP) install --editable '.[ray,postgres]'
	.ci/with-postgres $(RAY_PYTHON) -m proofs.ray_serve

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: Python >= 3.11 is needed; set PYTHON=…"; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.torch: | $(VENV)/bin/python
	@if $(BIN)/python -c 'import torch' 2>/dev/null; then :; \
	elif command -v nvidia-smi >/dev/null 2>&1 || [ "$$(uname -s)" != Linux ]; then $(PIP) install '$(TORCH)'; \
	else $(PIP) install --no-deps --retries 1 --index-url $(TORCH_CPU_INDEX) '$(TORCH)' || $(PIP) install '$(TORCH)'; fi
	@touch $@

$(VENV)/.ready: pyproject.toml $(VENV)/.torch
	$(PIP) install --editable .
	@touch $@

$(VENV)/.ready-dev: pyproject.toml $(VENV)/.torch
	$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/.ready

clean: ## Remove the environment and caches; runs/ stays
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache build dist
