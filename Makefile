# The two commands: `make demo` and `make test`. Both set the environment up first; a second run reuses it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-stamp
BENCHMARKS := identify filter serve
CLEAN := build/clean
export HF_HUB_OFFLINE ?= 1
export TOKENIZERS_PARALLELISM ?= false

.PHONY: demo test setup check fmt proto bench dist dist-check clean help
.DEFAULT_GOAL := help

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -e 's/:.*## /\t/'

setup: $(STAMP) ## create .venv and install everything, from the pinned constraints

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed; set PYTHON=..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "Python cannot make virtual environments here; on Debian: apt-get install python3-venv"; exit 1; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[engine,server,test]'
	@touch $(STAMP)

demo: setup ## the main job, end to end, on text and models that are already here
	$(BIN)/curator demo

test: check ## format, lint, types, import contracts, then all tests
	$(BIN)/pytest --numprocesses 2 --dist loadfile

check: setup ## the static part of the tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

fmt: setup ## format and fix
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

proto: setup ## regenerate the gRPC stubs
	$(BIN)/python -m curator.api.generate

bench: setup ## the benchmarks, quick; with FULL=1 the full measurement, into benchmarks/results and the README
	@set -e; for name in $(BENCHMARKS); do \
		$(BIN)/python benchmarks/$$name.py $(if $(FULL),--json benchmarks/results/$$name.json,--quick); done
	@$(if $(FULL),$(BIN)/python benchmarks/readme_table.py --write,true)

dist: setup ## build the wheel and the source distribution into dist/
	rm -rf dist
	$(BIN)/hatchling build

dist-check: dist ## install the wheel into a clean environment, run the demonstration there, write the bill of materials
	rm -rf build && mkdir build
	$(PYTHON) -m venv $(CLEAN)
	$(CLEAN)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt "$$(ls dist/*.whl)[engine,server]"
	$(PYTHON) -m venv build/tools
	build/tools/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt cyclonedx-bom
	rm $(CLEAN)/lib/python*/site-packages/rosetta_curator-*.dist-info/direct_url.json  # it names a folder of this machine
	build/tools/bin/cyclonedx-py environment --output-reproducible --of JSON --output-file dist/rosetta-curator.cdx.json $(CLEAN)/bin/python
	cd $(CLEAN) && PYTHONPATH= bin/curator demo --out demo

clean: ## remove the environment and caches
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
