.DEFAULT_GOAL := help
.PHONY: help demo test fast lint sanitize rehearse format types native clean

# Each target makes .venv first when it is missing (recipes/venv.sh).
PYTHON = .venv/bin/python

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo:  ## the whole recipe on speech made on the spot: about ten minutes
	bash recipes/vctk/run.sh --corpus mini

test:  ## linters, types, shellcheck and tests, as CI runs them
	bash tests/run.sh

fast:  ## ruff, import-linter and the quickest tests of every room: under a minute
	bash tests/run.sh --fast

lint:  ## ruff, mypy, clang-format and shellcheck
	bash tests/lint.sh

sanitize:  ## the C++ engine under the address and undefined-behaviour sanitizers
	bash tests/sampling/sanitize.sh

rehearse:  ## training on a lent GPU machine, small and on the CPU
	bash recipes/pretrained/rehearse.sh

format: $(PYTHON)  ## rewrite the sources in the house format
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
	.venv/bin/clang-format --style=file:vqspeech/sampling/cpp/.clang-format \
		-i vqspeech/sampling/cpp/*.h vqspeech/sampling/cpp/*.cpp tests/sampling/*.cpp

types: $(PYTHON)  ## mypy alone
	$(PYTHON) -m mypy

native: $(PYTHON)  ## build the C++ engine again, with what the compiler says
	$(PYTHON) setup.py build_ext --inplace --force

clean:  ## remove caches; .venv, data and exp stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis build dist
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

$(PYTHON):
	bash -c 'source recipes/venv.sh && venv_ensure "$$PWD"'
