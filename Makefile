# `make help` lists the commands. All run in a virtual environment, which the rules of `make setup` create first.

# onedl: the maintained OpenMMLab distributions (default); upstream: the original ones.
STACK ?= onedl
VENV ?= $(if $(filter onedl,$(STACK)),.venv,.venv-$(STACK))
# Adds to the packages of VENV the implementations that the tests marked `reference` compare with, and mmpretrain.
REFERENCE ?= $(VENV)-reference
# Creates VENV: the first Python on the path that the packages support, else python3, which reports the problem.
PYTHON ?= $(or $(firstword $(foreach python,python3 python3.12 python3.11 python3.10,$(shell $(python) -c \
	'import sys, venv, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	&& echo $(python)))),python3)
# Where `make bench` puts rows and page.
BENCH ?= work_dirs/benchmark
# Processes of the tests (pytest-xdist), at most 8, and threads of each: on small tensors they cost more than they gain.
JOBS ?= logical
THREADS ?= 1

RUN := $(VENV)/bin/python
INSTALL := $(RUN) -m pip install --disable-pip-version-check --no-input --quiet
STATE := $(VENV)/.setup
READY := $(STATE)/complete
REFERENCE_READY := $(REFERENCE)/.setup/complete
LIMIT_THREADS := OMP_NUM_THREADS=$(THREADS) MKL_NUM_THREADS=$(THREADS) OPENBLAS_NUM_THREADS=$(THREADS)
# Neighbours in a file run in one process, which builds their fixtures once; an idle process takes work from the others.
PYTEST = $(LIMIT_THREADS) $(RUN) -m pytest --numprocesses=$(JOBS) --maxprocesses=8 --dist=worksteal

.DEFAULT_GOAL := help
.PHONY: help setup tensorrt-rtx check demo gpu test test-all test-slow reference parity lint format docs bench bench-training clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo 'Variables: STACK=onedl|upstream  PYTHON=python3.11  VENV=.venv  ARGS="..." (for tests, parity, demo, bench)'
	@echo '           JOBS=logical|0|1|2... processes of the tests  THREADS=1 threads of each'
	@echo '           BENCH=work_dirs/benchmark where make bench puts rows and page'
	@echo 'Times are those of 2 cores of an AMD EPYC (Zen 4); see docs/install.md for older CPUs'

# --- the environment: each step leaves a file, so that the next run continues with the first that is missing ----------

setup: $(READY)  ## make the virtual environment (about 4 minutes on 2 cores, seconds the second time)

OPENMMLAB := requirements/openmmlab$(if $(filter upstream,$(STACK)),-upstream).txt
MMCV := $(shell grep -o '^\S*mmcv==\S*' $(OPENMMLAB))
TORCH := $(shell grep -o '^torch==\S*' requirements/torch.txt)
# The later steps install torch's requirement as well, so torch stays as it is.
PACKAGES := $(OPENMMLAB) $(addprefix requirements/,torch.txt build.txt base.txt train.txt deploy.txt service.txt report.txt test.txt)

# An environment whose Python has been removed is created again.
$(shell test -x $(RUN) || rm -f $(STATE)/$(STACK))

$(STATE)/$(STACK):
	@echo '[1/5] Making $(VENV) with $(PYTHON) (seconds)'
	@$(PYTHON) tools/dev/make_venv.py $(VENV) $(STACK)

# The state files are named after the pins, so switching branches, which changes dates only, recompiles nothing.
$(STATE)/$(TORCH): $(STATE)/$(STACK)
	@echo '[2/5] Installing torch (a minute; the CUDA build is large and takes longer)'
	@rm -f $(STATE)/torch==*
	@$(INSTALL) -r requirements/torch.txt -r requirements/build.txt
	@touch $@

# The operators are compiled against the installed torch.
$(STATE)/$(MMCV): $(STATE)/$(TORCH)
	@echo '[3/5] Compiling $(MMCV) and its operators (2 to 3 minutes on 2 cores)'
	@rm -f $(STATE)/*mmcv==*
	@$(RUN) tools/dev/build_mmcv.py $(MMCV)
	@touch $@

$(STATE)/packages: $(STATE)/$(MMCV) $(PACKAGES) requirements/mmdeploy.txt setup.py pyproject.toml
	@echo '[4/5] Installing the rest of OpenMMLab, the backends and the test tools (about a minute)'
	@$(INSTALL) $(PACKAGES:%=-r %)
	@$(INSTALL) --no-deps -r requirements/mmdeploy.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(READY): $(STATE)/packages
	@echo '[5/5] Checking every part'
	@$(RUN) tools/check_env.py
	@touch $@

tensorrt-rtx: $(STATE)/tensorrt-rtx  ## add TensorRT for RTX, which builds engines without a GPU as well (Linux; 245 MB)

$(STATE)/tensorrt-rtx: requirements/tensorrt-rtx.txt $(READY)
	@echo 'Installing TensorRT for RTX (a minute)'
	@$(INSTALL) -r $<
	@touch $@

$(STATE)/docs: requirements/docs.txt $(READY)
	@echo 'Installing the tools that build the documentation (seconds)'
	@$(INSTALL) -r $<
	@touch $@

reference: $(REFERENCE_READY)  ## make the environment with the independent implementations and mmpretrain (a minute)

# VENV's pip installs into it: a pip and setuptools of its own would hide those that OpenMMLab needs.
PRETRAIN := requirements/pretrain$(if $(filter upstream,$(STACK)),-upstream).txt

$(REFERENCE_READY): requirements/reference.txt $(PRETRAIN) tools/dev/link_venv.py tools/dev/torchvision_schemas.py $(READY)
	@echo 'Making $(REFERENCE), which sees the packages of $(VENV) (seconds)'
	@$(RUN) -m venv --without-pip $(REFERENCE)
	@$(REFERENCE)/bin/python tools/dev/link_venv.py $$($(RUN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
	@$(RUN) -m pip --python $(REFERENCE)/bin/python $(wordlist 4,99,$(INSTALL)) -r requirements/torch.txt -r $< -r $(PRETRAIN)
	@$(REFERENCE)/bin/python -c 'import mmpretrain, timm, torchvision; print("timm", timm.__version__, "torchvision", torchvision.__version__, "mmpretrain", mmpretrain.__version__)'
	@mkdir -p $(@D) && touch $@

check: $(READY)  ## show what is installed and what is missing
	@$(RUN) tools/check_env.py $(ARGS)

# --- use ----------------------------------------------------------------------------------------------------------------

demo: $(READY)  ## make data, train, evaluate, export and time a detector (about 8 minutes on 2 cores)
	$(RUN) tools/demo.py --work-dir work_dirs/demo $(ARGS)

bench: $(READY)  ## measure latency, and make a page of it (about 18 minutes on 2 quiet cores)
	$(RUN) tools/benchmark.py suite --out $(BENCH) $(ARGS)
	$(RUN) tools/report.py $(BENCH)/rows.jsonl --out $(BENCH)/page.html

bench-training: $(READY)  ## measure time and memory of training iterations (about half an hour on 2 cores)
	$(RUN) tools/benchmark.py training $(ARGS)

# --- tests, style, documentation ------------------------------------------------------------------------------------------

test: $(READY)  ## run the tests but the slow ones (about 9 minutes on 2 cores)
	$(PYTEST) -m 'not slow' $(ARGS)

test-slow: $(READY)  ## run the slow tests (about 18 minutes on 2 cores)
	$(PYTEST) -m slow $(ARGS)

test-all: $(READY)  ## run all tests
	$(PYTEST) $(ARGS)

parity: $(REFERENCE_READY)  ## compare the backbones with independent implementations, and test classifiers
	$(LIMIT_THREADS) $(REFERENCE)/bin/python -m pytest -m 'reference or pretrain' $(ARGS)

# Where there is no VENV, the machine's own Python with its PyTorch will do (docs/tensorrt.md).
gpu:  ## run the GPU suite; needs PyTorch with CUDA, not the set-up (at most 9 minutes)
	$(if $(wildcard $(READY)),$(RUN),python3) tools/dev/gpu_suite.py run $(ARGS)

lint: $(READY)  ## check style, formatting and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

format: $(READY)  ## fix style and formatting
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

docs: $(STATE)/docs  ## build the documentation into docs/_build/html
	$(RUN) -m sphinx -W --keep-going -b html docs docs/_build/html

clean:  ## remove what builds and tests leave behind (not the environment, not work_dirs)
	rm -rf build dist *.egg-info docs/_build .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +
