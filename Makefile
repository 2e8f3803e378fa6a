# README has the first three in plain pip.
PYTHON ?= python3
PROGRAMS := $(if $(filter Windows_NT,$(OS)),Scripts,bin)
BIN := .venv/$(PROGRAMS)
PIP_INSTALL := -m pip install --quiet --disable-pip-version-check
# On all cores. A file stays in one worker, since its tests share trainings, and cells a kernel.
WORKERS := -n auto --dist loadfile --no-loadscope-reorder

.PHONY: help lab run check test test-figures test-minimum test-newest verify-gpt2 notebooks colab test-colab clean
.PHONY: style site test-site

help:
	@echo "make lab        set up, and open JupyterLab at lesson 1"
	@echo "make run        set up, and execute all lessons; the executed copies go to runs/"
	@echo "make check      set up, and run what takes no training: before a commit"
	@echo "make test       set up, and run everything that CI runs"
	@echo "make test-figures  measure the figures of the folds anew, where a lesson has changed"
	@echo "make test-minimum, test-newest"
	@echo "                the tests with the oldest, or the newest, libraries"
	@echo "make verify-gpt2  fetch GPT-2, fine-tune it, and write the results into README (a GPU helps)"
	@echo "make notebooks  re-execute the lessons in place and store clean outputs"
	@echo "make colab      make the one-file editions for Google Colab anew"
	@echo "make test-colab test them with Colab's versions of the packages"
	@echo "make site       the lessons as a web site, in runs/site; nothing is executed"
	@echo "make test-site  make it, and look at it in a browser"
	@echo "make clean      remove what these made; your fine_tuned_gpt2 stays"

# Runs once, and again whenever requirements.txt changes.
.venv/installed: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python $(PIP_INSTALL) -r requirements.txt
	@touch $@

lab: .venv/installed
	$(BIN)/jupyter lab --notebook-dir=. notebooks/01_install.ipynb

run: .venv/installed
	$(BIN)/python -m notebooks.tools run

style: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check: style
	$(BIN)/python -m pytest $(WORKERS) -m "not slow and not alone" tests

test: style
	$(BIN)/python -m pytest $(WORKERS) -m "not alone and not figures"
	$(BIN)/python -m pytest -m alone tests/unit/test_generation.py tests/unit/test_prompt_box.py

# What stands in folds and was measured by trainings of minutes; the last digit may differ elsewhere.
test-figures: .venv/installed
	$(BIN)/python -m pytest $(WORKERS) -m figures tests

# What is listed in tests/environments, in an environment of its own: unit tests as they are, lessons
# without comparing their outputs, since other versions word and round some of them differently.
LAX := --nbval-lax --nbval-current-env -p no:cacheprovider
test-minimum test-newest: test-%:
	$(PYTHON) -m venv .venv-$*
	.venv-$*/$(PROGRAMS)/python $(PIP_INSTALL) --upgrade -r tests/environments/$*.txt
	.venv-$*/$(PROGRAMS)/python -m pytest $(WORKERS) -o addopts="$(LAX)" -m "not figures" --ignore tests/browser

verify-gpt2: .venv/installed
	$(BIN)/python -m tests.verify_gpt2

notebooks: .venv/installed
	$(BIN)/python -m notebooks.tools store

colab: .venv/installed
	$(BIN)/python -m notebooks.tools colab

.venv-colab/installed: tests/environments/colab.txt
	$(PYTHON) -m venv .venv-colab
	.venv-colab/$(PROGRAMS)/python $(PIP_INSTALL) -r tests/environments/colab.txt
	@touch $@

test-colab: .venv-colab/installed
	.venv-colab/$(PROGRAMS)/python -m pytest -o addopts="-p no:cacheprovider" $(WORKERS) tests/lessons/test_colab.py

SITE := notebooks/tools/site
.venv-site/installed: $(SITE)/requirements.txt
	$(PYTHON) -m venv .venv-site
	.venv-site/$(PROGRAMS)/python $(PIP_INSTALL) -r $(SITE)/requirements.txt
	@touch $@

site: .venv-site/installed
	.venv-site/$(PROGRAMS)/python -m notebooks.tools.site

# Without tests/conftest.py, which needs torch.
test-site: .venv-site/installed
	.venv-site/$(PROGRAMS)/python -m pytest -o addopts="-p no:cacheprovider" --confcutdir tests/browser \
		tests/browser/test_site.py

clean:
	rm -rf .venv .venv-minimum .venv-newest .venv-colab .venv-site runs checkpoints .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
