# The commands of this project. Each creates the environment first if need be.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/installed
RUN := TF_CPP_MIN_LOG_LEVEL=3 $(VENV)/bin/python

.PHONY: demo test browser lint types clean

demo: $(INSTALLED)  ## Train on 20 labeled digits, print the table, export, reload
	$(RUN) examples/digits.py --output demo_output

# A module on each core: most of the time is Python's, which uses one.
test: $(INSTALLED)  ## Run the tests, for which there must be a `chromium`
	$(RUN) -m pytest --numprocesses auto --dist loadfile

browser:  ## Install Debian's Chromium, in which the tests look at the report
	command -v chromium || \
		(apt-get update && apt-get install -y --no-install-recommends chromium)

lint: $(INSTALLED)  ## Check style
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(INSTALLED)  ## Check types
	$(VENV)/bin/mypy

clean:  ## Remove the environment and what the demo wrote
	rm -rf $(VENV) demo_output

$(INSTALLED): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --upgrade pip
	$(VENV)/bin/python -m pip install --quiet --editable ".[all,dev]"
	touch $@
