# For everybody: make demo, make test.  Both set themselves up: Python 3.11 or later, GNU make and git are enough.

python := .venv/bin/python
folders := ensemble tests bench examples fuzz docs/_ext
checked := $(foreach folder,$(folders),$(if $(wildcard $(folder)/*.py),$(folder)))
jobs := 2

.PHONY: help demo test docs lint types suite wheel-test coverage format ready-run ready-test clean distclean
# The steps of one target follow each other; trial uses the processors itself.
.NOTPARALLEL:

help:
	@echo 'make demo       two humds on this machine talk, before your eyes'
	@echo 'make test       everything that must hold: lint, types, tests, the wheel, the documentation'
	@echo 'make suite      only the tests;  tests=tests.tone  for a part of them'
	@echo 'make lint       only ruff, and whether the news fragments can be read'
	@echo 'make types      only mypy'
	@echo 'make format     let ruff mend what it can'
	@echo 'make coverage   the tests, with a report of the branches never taken'
	@echo 'make docs       the documentation and the API reference, in docs/_build/html'
	@echo 'make clean      remove what was made;  make distclean: .venv too'

demo: ready-run
	@$(python) examples/demo.py

test: lint types suite wheel-test docs

lint: ready-test
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	@$(python) -m towncrier build --draft --version next >/dev/null

types: ready-test
	$(python) -m mypy $(checked)

tests := tests
suite: ready-test
	$(python) -m twisted.trial --jobs=$(jobs) $(tests)

wheel-test: ready-test
	@sh .ci/wheel-test

docs: ready-test
	$(python) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	$(python) -m pydoctor -qq

format: ready-test
	$(python) -m ruff check --fix .
	$(python) -m ruff format .

# One process: trial's workers are not measured.
coverage: ready-test
	$(python) -m coverage erase
	$(python) -m coverage run -m twisted.trial $(tests)
	$(python) -m coverage combine -q
	$(python) -m coverage report

ready-run:
	@sh .ci/setup run

ready-test:
	@sh .ci/setup test

clean:
	rm -rf build dist *.egg-info _trial_temp* .hypothesis .mypy_cache .ruff_cache .coverage .coverage.* docs/_build
	rm -f twisted/plugins/dropin.cache
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

distclean: clean
	rm -rf .venv
