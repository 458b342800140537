# make demo | test | check | bench | clean        (VENV=… uses another virtual environment)
VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test check bench clean

demo: $(VENV)/.installed-demo  ## the main job on data/samples, without any key
	$(BIN)/vision-pipeline run configs/demo.yaml --engine prefect
	$(BIN)/vision-pipeline report data/outputs/demo > /dev/null
	$(BIN)/python data/show_demo.py

test: $(VENV)/.installed-dev  ## the whole suite, with coverage
	$(BIN)/python -m coverage erase
	$(BIN)/python -m pytest --cov --cov-report=

check: $(VENV)/.installed-dev  ## the gates; coverage is that of the last `make test`
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m coverage report --fail-under=95
	$(BIN)/python -m coverage report --fail-under=100 --include='vision_pipeline/core/*'

bench: $(VENV)/.installed-dev  ## the benchmarks; prints a table and writes tests/benchmarks/RESULTS.md
	$(BIN)/python -m tests.benchmarks

clean:
	rm -rf $(VENV) .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache .hypothesis data/outputs

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed-demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) -e '.[local]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) -e '.[local,formats,s3,postgres,dev]'
	touch $@ $(VENV)/.installed-demo
