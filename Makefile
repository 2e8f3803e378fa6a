# make lab | run | test | notebooks | colab | test-colab | clean. README has the same in plain pip.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help lab run test notebooks colab test-colab clean

help:
	@echo "make lab        set up, and open JupyterLab at lesson 1"
	@echo "make run        set up, and execute lessons 01 to 06; the executed copies go to runs/"
	@echo "make test       set up, and run everything that CI runs"
	@echo "make notebooks  re-execute the lessons in place and store clean outputs"
	@echo "make colab      make the one-file editions for Google Colab anew"
	@echo "make test-colab test them with Colab's versions of the packages"
	@echo "make clean      remove what these made; your fine_tuned_gpt2 stays"

# Runs once, and again whenever requirements.txt changes.
.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

lab: .venv/installed
	$(BIN)/jupyter lab notebooks/01_install.ipynb

run: .venv/installed
	$(BIN)/python -m notebooks run

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/python -m pytest

notebooks: .venv/installed
	$(BIN)/python -m notebooks store

colab: .venv/installed
	$(BIN)/python -m notebooks colab

.venv-colab/installed: tests/colab.txt
	$(PYTHON) -m venv .venv-colab
	.venv-colab/bin/python -m pip install --quiet --disable-pip-version-check -r tests/colab.txt
	@touch $@

test-colab: .venv-colab/installed
	.venv-colab/bin/python -m pytest -o addopts="-p no:cacheprovider" tests/test_colab.py

clean:
	rm -rf .venv .venv-colab runs checkpoints .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
