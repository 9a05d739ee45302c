# Terraweft. `make help` lists what can be typed.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3
EXTRAS ?= build,train,export,serve,test,dev
VENV := .venv
BIN := $(VENV)/bin
comma := ,
STAMP := $(VENV)/.installed-$(subst $(comma),-,$(EXTRAS))
# No wheel on the index: pure Python, made into one here so that the dry run may ask for wheels alone.
SDIST_ONLY := jsonpath-rw
# Container images set it, and then each of the hundreds of interpreters that the tests start compiles every module anew.
unexport PYTHONDONTWRITEBYTECODE
ROOMS := captioners chips flows labelers reference reports sandbox schemas shards sources terraweft

.PHONY: help demo test faults lint format bench services resolve constraints install clean

help:  ## list the targets
	@grep -hE '^[a-z%-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z%-]+):.*## /\1\t/' | awk -F'\t' '{printf "  make %-12s %s\n", $$1, $$2}'

demo: $(STAMP)  ## build the sandbox dataset into build/demo/dataset, and check it
	$(BIN)/terraweft demo --out build/demo

test: $(STAMP)  ## run the tests; one of them: make test ARGS="-k name"
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder $(ARGS)

faults: $(STAMP)  ## the long series: every fault injected for real and counted (TERRAWEFT_FAULT_TRIALS=50)
	$(BIN)/python -m pytest tests/faults $(ARGS)

lint: $(STAMP)  ## ruff, mypy --strict, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(STAMP)  ## let ruff put imports and layout in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP)  ## run every benchmark of bench/ (one row: make bench-p1)
	@shopt -s nullglob; scripts=(bench/p[0-9]*.py); \
	if [ $${#scripts[@]} -eq 0 ]; then echo "bench/ holds no benchmark yet"; fi; \
	for script in "$${scripts[@]}"; do echo "== $$script"; $(BIN)/python "$$script"; done

bench-%: $(STAMP)
	@shopt -s nullglob nocaseglob; scripts=(bench/$*.py bench/$*_*.py); \
	if [ $${#scripts[@]} -eq 0 ]; then echo "bench/ holds no benchmark named $*" >&2; exit 2; fi; \
	for script in "$${scripts[@]}"; do $(BIN)/python "$$script"; done

STAC_SERVER := build/services/stac-server

$(STAC_SERVER)/.installed: tests/integration/stac_server_requirements.txt
	@rm -rf $(STAC_SERVER); mkdir -p $(dir $(STAC_SERVER)); $(PYTHON) -m venv $(STAC_SERVER)
	@$(STAC_SERVER)/bin/pip install --quiet --disable-pip-version-check -r $<; touch $@
	@echo "make services: stac-fastapi-pgstac is installed in $(STAC_SERVER)"

services: $(STAC_SERVER)/.installed  ## install PostGIS, nginx, Chromium, a C compiler (Debian) and a STAC server, for the tests that need them
	@if ! command -v apt-get >/dev/null; then \
	  echo "make services: no apt-get here; install PostgreSQL with PostGIS, nginx, Chromium and a C compiler by other means" >&2; exit 0; fi; \
	as_root=""; if [ "$$(id -u)" -ne 0 ]; then as_root="sudo"; fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	$$as_root apt-get update -qq; \
	$$as_root apt-get install -y -qq --no-install-recommends postgresql postgresql-postgis postgis nginx-light chromium gcc libc6-dev fonts-dejavu-core >/dev/null; \
	echo "make services: PostGIS, nginx, Chromium and a C compiler are installed"

resolve: $(STAMP)  ## prove that the pinned set resolves from wheels on Python 3.12 and 3.13 (dry run)
	@mkdir -p build; $(BIN)/pip wheel --quiet --no-deps -c constraints.txt -w build/wheels $(SDIST_ONLY)
	@for version in 3.11 3.12 3.13; do \
	  report=build/resolve-$$version.json; \
	  $(BIN)/pip install --quiet --dry-run --ignore-installed --python-version $$version --only-binary=:all: \
	    --find-links build/wheels --target build/resolve --report $$report -c constraints.txt '.[build,export,serve,test,dev]'; \
	  $(BIN)/python -c "import json, sys; found = json.load(open(sys.argv[1]))['install']; \
	    print(f'Python {sys.argv[2]}: {len(found)} distributions resolve to the pinned versions, all as wheels')" \
	    $$report $$version; \
	done

constraints: $(STAMP)  ## write constraints.txt from what is installed in .venv
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/pip freeze --exclude-editable --exclude terraweft \
	  | sed -E 's/\+[A-Za-z0-9.]+$$//' | sort -f; } > build/constraints.new && mv build/constraints.new constraints.txt

install: $(STAMP)  ## make .venv and install the project into it

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else f"Terraweft needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]} (make PYTHON=...)")'
	[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	@mkdir -p build; rm -f $(VENV)/.installed-*; touch $@

clean:  ## remove build/ and caches (the environment stays: rm -rf .venv removes it)
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find $(ROOMS) tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
