# `make help` lists what there is. Everything runs in a virtual environment that `make setup` makes first.

# onedl: the maintained OpenMMLab distributions (default); upstream: the original ones.
STACK ?= onedl
VENV ?= $(if $(filter onedl,$(STACK)),.venv,.venv-$(STACK))
# Sees the packages of VENV and has the implementations beside them that the tests marked `reference` compare with.
REFERENCE ?= $(VENV)-reference
# The first Python on the path that the packages run on; python3 says what is wrong when there is none.
PYTHON ?= $(or $(firstword $(foreach python,python3 python3.12 python3.11 python3.10,$(shell $(python) -c \
	'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	&& echo $(python)))),python3)
# Threads on small tensors cost more than they bring, above all beside other work: what the tests may use.
THREADS ?= 1

RUN := $(VENV)/bin/python
READY := $(VENV)/.setup/complete
DOCS_READY := $(VENV)/.setup/docs.done
REFERENCE_READY := $(REFERENCE)/.setup/complete
RTX_READY := $(VENV)/.setup/tensorrt-rtx.done
LIMIT_THREADS := OMP_NUM_THREADS=$(THREADS) MKL_NUM_THREADS=$(THREADS) OPENBLAS_NUM_THREADS=$(THREADS)

.DEFAULT_GOAL := help
.PHONY: help setup tensorrt-rtx check demo test reference parity lint format docs bench bench-training clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo 'Variables: STACK=onedl|upstream  PYTHON=python3.11  VENV=.venv  ARGS="..." (for test, parity, demo, bench)'

setup: $(READY)  ## make the virtual environment (about 15 minutes on 2 cores, seconds the second time)

$(READY): tools/dev/setup_env.py setup.py pyproject.toml $(filter-out %/docs.txt %/reference.txt %/tensorrt-rtx.txt,$(wildcard requirements/*.txt))
	@$(PYTHON) tools/dev/setup_env.py --venv $(VENV) --stack $(STACK)

tensorrt-rtx: $(RTX_READY)  ## add TensorRT for RTX, which builds engines without a GPU as well (Linux; 245 MB)

$(RTX_READY): $(READY) requirements/tensorrt-rtx.txt
	@echo 'Installing TensorRT for RTX (a minute)'
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements/tensorrt-rtx.txt
	@touch $@

check: $(READY)  ## show what is installed and what is missing
	@$(RUN) tools/check_env.py $(ARGS)

demo: $(READY)  ## make data, train, evaluate, export and time a detector (about 15 minutes on 2 cores)
	$(RUN) tools/demo.py --work-dir work_dirs/demo $(ARGS)

test: $(READY)  ## run the tests
	$(LIMIT_THREADS) $(RUN) -m pytest $(ARGS)

reference: $(REFERENCE_READY)  ## make the environment with the independent implementations (under a minute)

$(REFERENCE_READY): $(READY) tools/dev/setup_reference_env.py tools/dev/torchvision_schemas.py requirements/reference.txt
	@$(RUN) tools/dev/setup_reference_env.py --venv $(REFERENCE)

parity: $(REFERENCE_READY)  ## compare the backbones with independent implementations
	$(LIMIT_THREADS) $(REFERENCE)/bin/python -m pytest -m reference $(ARGS)

lint: $(READY)  ## check style and formatting
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(READY)  ## mend style and formatting
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

docs: $(DOCS_READY)  ## build the documentation into docs/_build/html
	$(RUN) -m sphinx -W --keep-going -b html docs docs/_build/html

$(DOCS_READY): $(READY) requirements/docs.txt
	@echo 'Installing what builds the documentation (seconds)'
	@$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements/docs.txt
	@touch $@

bench: $(READY)  ## measure complexity and latency
	$(RUN) tools/benchmark.py $(ARGS)

bench-training: $(READY)  ## measure time and memory of training iterations (about half an hour on 2 cores)
	$(RUN) tools/benchmark.py training $(ARGS)

clean:  ## remove what builds and tests leave behind (not the environment, not work_dirs)
	rm -rf build dist *.egg-info docs/_build .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +
