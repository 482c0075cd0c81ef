# Two commands: `make quickstart` and `make test`. Each sets up .venv first, once.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup quickstart test test-thorough test-slow coverage lint pages clean

setup: $(VENV)/installed

$(VENV)/installed: requirements.txt requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $$($(PYTHON) --version) found, Python 3.11 or newer needed: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

quickstart: setup
	$(BIN)/python scripts/meta_train.py --config configs/quickstart.yaml --auto-resume

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

# What `make test` leaves out and .ci/run does not: memory over a thousand outer steps, two ranks, plans, benchmarks.
test-thorough: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m thorough

# What both leave out: a killed worker, a stopped torchrun, a compiled step. Some minutes.
test-slow: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow

# Half as slow again as `make test` and `make test-thorough`, by the tracing.
coverage: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m 'not slow' --cov --cov-report=term:skip-covered --cov-fail-under=90

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

# results/claims.yaml and docs/results/, from the files in results/.
pages: setup
	$(BIN)/python scripts/pages.py

clean:
	rm -rf $(VENV) build *.egg-info
