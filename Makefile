# `make demo` and `make test` do all the set-up on a fresh machine with Python 3.11, 3.12 or 3.13.
VENV ?= .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && { echo $$p; break; }; done)
# Tiny models are many times faster on one thread; the tests run in parallel processes instead.
export OMP_NUM_THREADS ?= 1
WORKERS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: demo test test-slow fuzz check lint types figures notebooks clean

demo: export OMP_NUM_THREADS := 2
demo: $(VENV)/ready
	$(BIN)/attnshift demo --out demo

test: $(VENV)/ready
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow"

test-slow: $(VENV)/ready
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m slow

# A hundred times the examples of the tests, at random; for hours in which nobody waits.
fuzz: $(VENV)/ready
	ATTNSHIFT_FUZZ=100 $(BIN)/python -m pytest -n $(WORKERS) tests/fuzz

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	$(BIN)/mypy

check: lint types test

# The images that the README shows and the notebooks as they are read without being run; both need Chrome or Chromium.
figures: $(VENV)/ready demo
	$(BIN)/python -m tools.images

notebooks: $(VENV)/ready demo
	$(BIN)/python -m tools.notebooks

$(VENV)/ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "attnshift needs Python 3.11, 3.12 or 3.13 on the PATH"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV) demo demo-arms .mypy_cache .pytest_cache .ruff_cache .hypothesis
