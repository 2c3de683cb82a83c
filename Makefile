# Everything here works in a fresh clone with nothing but Python 3.11 or newer.

# The first of these that is new enough; `make PYTHON=...` names another.
ifndef PYTHON
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11 python3.14; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)
endif
PREPARE = $(or $(PYTHON),python3) scripts/prepare.py
IN_VENV = .venv/bin/python -m
ROWS ?= 100000
PAIRS ?= 5

.DEFAULT_GOAL := help
.PHONY: help run test lint types layers unit slow bench clean
.NOTPARALLEL:

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: ## set up, then run the example job with a small model on this machine; no key needed
	@$(PREPARE) run
	@.venv/bin/python examples/run_demo.py

test: ## set up, then run every check: lint, types, layers, unit
	@$(PREPARE) dev
	@$(MAKE) --no-print-directory --keep-going lint types layers unit

lint: ## style and formatting
	@$(PREPARE) dev
	$(IN_VENV) ruff check .
	$(IN_VENV) ruff format --check .

types: ## strict type check
	@$(PREPARE) dev
	$(IN_VENV) mypy

layers: ## the one-way rule between packages
	@$(PREPARE) dev
	.venv/bin/lint-imports

unit: ## the tests, two processes at a time
	@$(PREPARE) dev
	$(IN_VENV) pytest -n 2 -m "not slow"

slow: ## the long attacks that `test` leaves out: every crash point, more kills
	@$(PREPARE) dev
	$(IN_VENV) pytest -n 2 -m slow

bench: ## bydawn against a hand-written script; ROWS=100000 PAIRS=5
	@$(PREPARE) dev
	.venv/bin/python benchmarks/run.py --rows $(ROWS) --pairs $(PAIRS)

clean: ## remove what the other targets made
	rm -rf .venv out build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
