# `make help` lists the targets. Everything runs in the environment .venv/.
PYTHON ?= python3
VENV := .venv
# what is given on the command line reaches commands by the environment, whatever characters it has
BASE ?= main
override BASE := $(value BASE)
override HEAD := $(value HEAD)
override WORKERS := $(value WORKERS)
override STUDY := $(value STUDY)
override NAMES := $(value NAMES)
override PIPELINE := $(value PIPELINE)
# the option $(2) where $(1) is yes, or anything but no
flag = $(if $(filter-out no false 0,$(1)),$(2))
export BASE HEAD WORKERS STUDY NAMES PIPELINE
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup repro parallel search test verify recheck replicate check-lock review gate seed-spread serve undo savedmodel plots-page lint requirements clean

help: ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

setup: $(VENV)/installed ## Make the environment .venv with the pinned requirements

$(VENV)/installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else f"Python 3.11 to 3.13 is needed, this is {sys.version.split()[0]}: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --requirement requirements.txt
	@# as pip would, but on all cores, and without the packages' own tests; like pip, it passes over files for other versions of Python
	-@$(VENV)/bin/python -m compileall -qq -j 0 -x 'site-packages/.*/tests/' $(CURDIR)/$(VENV)/lib
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

repro: setup ## Run the pipeline: dvc repro
	dvc repro

parallel: setup ## Run the pipeline's stages side by side, on WORKERS processes (default: the cores divided by train.threads)
	python -m commands.parallel $${WORKERS:+--workers "$$WORKERS"}

search: setup ## Search hyperparameters: the study searches/STUDY.yaml, on WORKERS processes (docs/search.md)
	python -m commands.search "$$STUDY" $${WORKERS:+--workers "$$WORKERS"}

test: setup ## Run the tests, as many files at once as there are cores
	python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

verify: setup ## Rerun the last commit's pipeline in a fresh clone, and compare its results bit by bit
	python -m commands.verify

recheck: setup ## Where only code changed: show that it computes the same, without training (NAMES='…' PIPELINE=both WORKERS=N DRY=yes)
	set -f; python -m commands.recheck $$NAMES $${PIPELINE:+--pipeline "$$PIPELINE"} $${WORKERS:+--workers "$$WORKERS"} $(call flag,$(DRY),--dry)

replicate: setup ## Run the documents' experiments that are out of date, cheapest first (NAMES='…' COMMIT=yes DRY=yes)
	set -f; python -m commands.replicate $$NAMES $(call flag,$(COMMIT),--commit) $(call flag,$(DRY),--dry)

check-lock: setup ## Say whether dvc.lock is up to date with code and parameters
	python -m commands.check_lock

review: setup ## Review the working tree (or HEAD=REVISION) against the branch BASE: review.md, review.html; REPRO=yes runs what is out of date
	python -m commands.review --base "$$BASE" $${HEAD:+--head "$$HEAD"} $(call flag,$(REPRO),--repro)

gate: setup ## Check what params.yaml asks of a change under `gate`, against the branch BASE
	python -m commands.gate --base "$$BASE"

seed-spread: setup ## Measure how much accuracies differ between seeds (five by default)
	python -m commands.seed_spread

undo: setup ## Return to the last commit, its parameters, results, data and models; what was changed is kept in git's stash
	@python -m commands.undo

serve: setup ## Serve the selected model over HTTP on 127.0.0.1:8000 (docs/deploy.md)
	python -m commands.serve

savedmodel: setup ## Convert the selected model to a TensorFlow SavedModel in savedmodel/
	python -m commands.savedmodel

plots-page: setup ## Regenerate the JavaScript of all pages, with the installed version of Vega
	python -m commands.plots_page

lint: setup ## Check the style of the code
	ruff check . && ruff format --check .

requirements: setup ## Recompile requirements.txt and requirements-serve.txt, with the newest versions
	uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --upgrade --no-emit-index-url --no-emit-find-links --custom-compile-command "make requirements" --output-file requirements.txt requirements.in
	uv pip compile --quiet --universal --fork-strategy fewest --python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command "make requirements" --constraint requirements.txt --output-file requirements-serve.txt requirements-serve.in

clean: ## Remove the environment (data, models and DVC's cache stay)
	rm -rf $(VENV)
