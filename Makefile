# Set-up in one place: every target shares .venv; the stamps make a second call start without reinstalling.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
SOURCES := pyproject.toml constraints.txt

.PHONY: search test lint clean

search: $(VENV)/.installed  ## the default search: ARGS="trials=100 space=spanv2"
	$(BIN)/nas search $(ARGS)

test: $(VENV)/.installed-test  ## the tests: ARGS="-k imresize"
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal $(ARGS)

lint: $(VENV)/.installed-test  ## formatting, lint and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) build *.egg-info

$(VENV)/.installed: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-test: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	touch $@ $(VENV)/.installed
