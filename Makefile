# Everything runs from a virtual environment in .venv, which is made when it is first needed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt

CLIENT_URL ?= http://127.0.0.1:2379
DATA_DIR ?= default.etcd
FLAGS ?=
ROUNDS ?= 20
SEED ?= 1
FIRST ?= 0
N ?= 20000

.PHONY: help run test lint format check protos conformance bench crash sim sim-many audit \
	dist docs clean

help:
	@echo "make run          one node on $(CLIENT_URL), data in ./$(DATA_DIR)"
	@echo "make test         the tests"
	@echo "make lint         ruff and mypy"
	@echo "make check        lint and test: what a change must pass"
	@echo "make format       let ruff format the code"
	@echo "make protos       generate pykvd/pb and the gateway's description from protos/"
	@echo "make conformance  compare answers with a real etcd (needs etcd and etcdctl)"
	@echo "make bench        compare speed with a real etcd"
	@echo "make crash        kill and restart a node ROUNDS times and look for lost writes"
	@echo "make sim          show the simulated cluster of SEED, line by line"
	@echo "make sim-many     run N seeds of the simulation, from FIRST on, on all cores"
	@echo "make audit        look for known vulnerabilities in the pinned packages"
	@echo "make dist         build the wheel and the source package"
	@echo "make docs         build the pages of docs/ in ./site"
	@echo "make clean        remove what the above made, except data directories"

run: $(VENV)/.run
	@echo "A node will listen on $(CLIENT_URL) and keep its data in ./$(DATA_DIR). Talk to it with"
	@echo "  $(BIN)/pykvctl --endpoints $(CLIENT_URL) put greeting hello"
	@echo "  $(BIN)/pykvctl --endpoints $(CLIENT_URL) get greeting"
	@echo "from another terminal; etcdctl takes the same words. Ctrl-C stops it."
	@exec $(BIN)/pykvd --data-dir $(DATA_DIR) \
	  --listen-client-urls $(CLIENT_URL) --advertise-client-urls $(CLIENT_URL) $(FLAGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest -m "not long" -n 6 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

check: lint test

protos: $(VENV)/.dev
	$(BIN)/python scripts/protos.py
	$(BIN)/python scripts/openapi.py

conformance: $(VENV)/.dev
	PYKVD_CONFORMANCE_N=$(N) $(BIN)/python -m pytest tests/conformance/test_differential.py

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks.run

crash: $(VENV)/.dev
	$(BIN)/python -m tests.integration.crash --rounds $(ROUNDS)

sim: $(VENV)/.dev
	$(BIN)/python -m tests.simulation --seed $(SEED)

sim-many: $(VENV)/.dev
	$(BIN)/python -m tests.simulation --first $(FIRST) --many $(N)

audit: $(VENV)/.dev
	$(INSTALL) pip-audit==2.10.1
	$(BIN)/pip-audit --disable-pip --no-deps --requirement constraints.txt

dist: $(VENV)/.dev
	rm -rf build dist
	$(INSTALL) build
	$(BIN)/python -m build --outdir dist .

docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps say which packages an environment holds; they are newer than what asked for them.
$(VENV)/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is missing or older than 3.11: install it, or say make PYTHON=..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	  || { echo "$(PYTHON) cannot make virtual environments: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.python pyproject.toml constraints.txt
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[dev]'
	@touch $(VENV)/.run $@

$(VENV)/.docs: $(VENV)/.python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[docs]'
	@touch $@
