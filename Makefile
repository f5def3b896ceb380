# Set-up in one place: every target shares .venv; the stamps make a second call start without reinstalling.
# PYTHON and TORCH (cpu, pypi, ...) are read when .venv is made: .ci/install.sh says what they mean.
PYTHON ?=
TORCH ?= auto
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
SOURCES := pyproject.toml constraints.txt .ci/install.sh
export PYTHON TORCH

.PHONY: install search test lint docs clean

install: $(VENV)/.installed  ## .venv with the package

search: $(VENV)/.installed  ## the default search: ARGS="trials=100 space=spanv2"
	$(BIN)/nas search $(ARGS)

test: $(VENV)/.installed-test  ## the tests: ARGS="-k imresize"
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal $(ARGS)

lint: $(VENV)/.installed-test  ## formatting, lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.installed-docs  ## the documentation as a site in site/; every warning is an error
	$(BIN)/python docs/_scripts/pictures.py
	$(BIN)/mkdocs build --strict $(ARGS)

clean:
	rm -rf $(VENV) build site *.egg-info

$(VENV)/.installed: $(SOURCES)
	@sh .ci/install.sh
	@touch $@
	@echo "installed: . $(VENV)/bin/activate"

$(VENV)/.installed-test: $(SOURCES)
	@sh .ci/install.sh test
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(SOURCES)
	@sh .ci/install.sh docs
	@touch $@ $(VENV)/.installed
