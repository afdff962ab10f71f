# Everything a stranger needs: `make film`, `make test`. Each makes what it lacks.
# A choice of index or mirror goes through pip's own means: PIP_OPTIONS, pip.conf, PIP_* variables.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_OPTIONS ?=
SCENE ?= scenes/first-light.yaml

.PHONY: film draft claims site test test-extras fuzz bench lint install doctor clean

film: $(VENV)/installed
	$(BIN)/studio film $(SCENE)

draft: $(VENV)/installed
	$(BIN)/studio film --draft $(SCENE)

# measures what the films say, on their shelf, and writes the table; it goes on after a stop
claims: $(VENV)/installed
	$(BIN)/python docs/claims.py > docs/claims.md.new
	mv docs/claims.md.new docs/claims.md

# the project's own site, of its films, stills and pages; what is measured or made of the films is not needed
site: $(VENV)/installed
	$(BIN)/studio gallery scenes --out site --stills assets/stills
	$(BIN)/python docs/site.py site

test: $(VENV)/installed
	$(BIN)/python -m pytest -n 2 --dist loadfile

# what needs the optional extras, and a chromium: installs them, and runs those tests alone
test-extras: $(VENV)/installed
	$(BIN)/pip install --quiet $(PIP_OPTIONS) -c constraints.txt -e '.[mnist,h5,readers,lightning,transformers,web]'
	$(BIN)/python -m pytest -m extras

# hostile scenes, files and faults; another choice of them: make fuzz SEED=1 COUNT=500
SEED ?= 0
COUNT ?= 10000
fuzz: $(VENV)/installed
	SEED=$(SEED) COUNT=$(COUNT) $(BIN)/python tests/fuzz/run.py

bench: $(VENV)/installed
	$(BIN)/pip install --quiet $(PIP_OPTIONS) -c constraints.txt -e '.[bench]'
	$(BIN)/python tests/benchmarks/run.py

# formatting, lint rules and types; `pre-commit install` runs the same three before a commit
lint: $(VENV)/installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

install: $(VENV)/installed

doctor: $(VENV)/installed
	$(BIN)/studio doctor

# made again when either file changes; the last line marks it complete
$(VENV)/installed: pyproject.toml constraints.txt
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(PIP_OPTIONS) -c constraints.txt -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) out site scenes/.studio
