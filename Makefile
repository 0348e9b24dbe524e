# Each target makes what it needs (.venv from the locks, a browser for the page's tests) and does nothing twice.
# ARGS=... goes on to the command behind the target.
.DEFAULT_GOAL := help
.PHONY: help demo test lint fuzz bench services-up services-down docs notebooks lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' Makefile

demo: ## Watch a real month of charging: forecasts, plan and findings on a live page
	@scripts/setup base >&2
	@.venv/bin/plugcast demo $(ARGS)

test: ## All gates and all tests, the quick suite first (ARGS for pytest)
	@scripts/test $(ARGS)

lint: ## The gates alone: ruff, ruff format, mypy, import-linter
	@scripts/lint

fuzz: ## Attack the packed trees for ten minutes (FUZZ_SECONDS): sanitisers, then a coverage-guided fuzzer
	@scripts/fuzz

bench: ## One bench as JSON on stdout: make -s bench NAME=startup (without NAME: which there are)
	@scripts/setup $(if $(filter solve trees acn,$(NAME)),bench,$(if $(filter faults,$(NAME)),dev,base)) >&2
	@$(if $(filter ev2gym,$(NAME)),scripts/ev2gym -c "",:) >&2
	@.venv/bin/python -m benches.run "$(NAME)" $(ARGS)

services-up: ## Start Kafka, RabbitMQ, Mosquitto and a mail server for tests and development (ARGS="--only kafka")
	@scripts/services up $(ARGS)

services-down: ## Stop what services-up started
	@scripts/services down $(ARGS)

docs: ## Write the generated references and build the site into site/
	@scripts/setup dev >&2
	@.venv/bin/python scripts/make_docs.py
	@rm -rf site # --clean would take all of .cache with it, running servers' data too
	@.venv/bin/zensical build --strict $(ARGS)

notebooks: ## Execute the notebooks into out/notebooks/
	@scripts/setup dev >&2
	@.venv/bin/python scripts/notebooks.py

lock: ## Resolve the locked versions anew from pyproject.toml
	@scripts/setup dev >&2
	@scripts/lock

clean: ## Remove what the targets made, .venv included
	@rm -rf .venv site .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache dist build
	@find src tests benches scripts -name __pycache__ -type d -prune -exec rm -rf {} +
