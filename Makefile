# `make repro` and `make test` set up everything they need.

PYTHON ?= python3.11
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help repro test preset check-data flow schedule serve results fusion-bench lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/'

repro: $(READY) ## run the pipeline: only what changed runs again
	@$(BIN)/python -m flows.repro

test: $(READY) ## lint, types and all tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy & types=$$!; $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder; tests=$$?; \
		wait $$types && exit $$tests

preset: $(READY) ## write params.yaml from presets/NAME.yaml and the defaults; alone it lists them: NAME=<name>, FORCE=1
	@$(BIN)/python -m flows.preset $(NAME) $(if $(FORCE),--force)

check-data: $(READY) ## show the prepared data as a model sees it, with a page of samples: NAME=<data set>, or all
	@$(BIN)/python -m stages.prepare $(NAME) --check

flow: $(READY) ## the same pipeline as a Prefect flow
	@$(BIN)/python -m flows.pipeline

serve: $(READY) ## serve the champions over HTTP, with a page: MODEL=models:/<name>@<alias>, PORT=<port>
	@$(BIN)/python -m stages.serve $(if $(MODEL),--model $(MODEL)) $(if $(PORT),--port $(PORT))

schedule: $(READY) ## retrain on the schedule of params.yaml; a Prefect server on this machine
	@$(BIN)/python -m flows.schedule

results: $(READY) ## write the README's table from results/; NAME=<name> first records the last run there
	@$(BIN)/python -m flows.results $(if $(NAME),--collect $(NAME))

fusion-bench: $(READY) ## every fusion over five seeds, beside each modality alone: EXPERIMENT=<name>
	@$(BIN)/python -m flows.fusion_bench $(or $(EXPERIMENT),classify)

lock: ## compile requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --generate-hashes --universal --python-version 3.11 -o requirements.lock

clean: ## remove artifacts and caches; the environment and the tracking store's folder go too
	rm -rf artifacts/* .fuseline .prefect .dvc/cache .dvc/tmp $(VENV)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "Python 3.11 is needed; set PYTHON=<path of one>"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@git rev-parse --is-inside-work-tree >/dev/null 2>&1 || $(BIN)/dvc config --local core.no_scm true
	@touch $(READY)
