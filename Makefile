# Every target sets itself up from a fresh clone: python3 (3.11 or newer), its venv module and make are all it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv --no-config
UV_VERSION := 0.13.8
COMPILE := $(UV) pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-header --no-annotate --no-emit-index-url --quiet

.DEFAULT_GOAL := help
.PHONY: help demo test coverage check fix unit bench docs lock clean

help: ## say what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-8s %s\n", $$1, $$2}'

$(BIN)/uv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Loopwright needs Python 3.11 or newer; '$(PYTHON)' is older or missing. Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 2; }
	@$(PYTHON) -m venv $(VENV) || { echo "No venv module. On Debian: apt install python3-venv"; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

# One stamp per lock, so that switching between `make demo` and `make test` installs only what changed.
$(VENV)/.run: requirements/run.lock pyproject.toml | $(BIN)/uv
	@echo "Installing what Loopwright runs on (pinned and hashed) ..."
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/run.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.run
	@echo "Installing the tools the tests need (pinned and hashed) ..."
	@$(UV) pip install --quiet --python $(BIN)/python --require-hashes -r requirements/dev.lock
	@touch $@

demo: $(VENV)/.run ## start the server and watch it learn from real data
	@$(BIN)/loopwright demo $(if $(DEMO_EXIT),--exit)

test: check ## format, lint, import contracts, types, then every test
	@$(BIN)/pytest -n auto --dist loadfile $(MEASURE)

coverage: MEASURE = --cov --cov-report=term:skip-covered
coverage: test ## the same, and fail when too few branches are covered; servers that tests start count too

check: $(VENV)/.dev ## everything that needs no test run
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/lint-imports --no-logo >/dev/null 2>&1 || { $(BIN)/lint-imports; exit 1; }
	@$(BIN)/mypy --no-error-summary src tests bench

fix: $(VENV)/.dev ## format and mend what can be mended by a machine
	@$(BIN)/ruff format --quiet . ; $(BIN)/ruff check --fix .

bench: $(VENV)/.dev ## run every measurement and print the table
	@$(BIN)/python -m bench

docs: $(VENV)/.dev ## build the documentation into docs/_build
	@$(BIN)/sphinx-build -W -q -b html docs docs/_build/html && echo "docs/_build/html/index.html"

lock: | $(BIN)/uv ## resolve the dependencies anew: names, versions and hashes only
	@$(COMPILE) --upgrade --group build -o requirements/run.lock
	@$(COMPILE) --upgrade --group dev -o requirements/dev.lock

clean: ## remove everything that was made
	@rm -rf $(VENV) docs/_build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
