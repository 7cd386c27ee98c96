# `make repro` and `make test` set up everything they need.

PYTHON ?= python3.11
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
UV ?= $(shell command -v uv 2>/dev/null)
SAY_EVERY_S ?= 30
READY := $(VENV)/.ready

.PHONY: help repro test preset check-data flow schedule serve results fusion-bench search lock clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/'

repro: $(READY) ## run the pipeline: only what changed runs again; JOBS=<stages at work at once>
	@$(BIN)/python -m flows.repro $(if $(JOBS),--jobs $(JOBS))

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

search: $(READY) ## try hyperparameters by the ranges of search.yaml: EXPERIMENT=<name> TRIALS=<in all> SEEDS=<for the end> FILE=<ranges>
	@$(BIN)/python -m flows.search $(or $(EXPERIMENT),classify) $(if $(TRIALS),--trials $(TRIALS)) \
		$(if $(SEEDS),--seeds $(SEEDS)) $(if $(FILE),--file $(FILE))

lock: ## compile requirements.lock anew from pyproject.toml (needs uv)
	uv pip compile pyproject.toml --extra dev --generate-hashes --universal --python-version 3.11 -o requirements.lock

clean: ## remove artifacts and caches; the environment and the tracking store's folder go too
	rm -rf artifacts/* .fuseline .prefect .dvc/cache .dvc/tmp $(VENV)

BY_UV = "$(UV)" pip install --python $(BIN)/python --require-hashes -r requirements.lock
# What pip has on its way lies in the environment too, so that its size tells how far it is.
BY_PIP = mkdir -p $(VENV)/tmp && TMPDIR=$(CURDIR)/$(VENV)/tmp \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && rm -rf $(VENV)/tmp
# Run a command and say now and then how large the environment is; the saying ends with the shell, even a killed one.
saying = while sleep $(SAY_EVERY_S) >/dev/null 2>&1 && kill -0 $$$$ 2>/dev/null; do \
	echo "$(VENV) holds $$(du -sm $(VENV) | cut -f1) MB"; done & said=$$!; { $(1); }; status=$$?; kill $$said; exit $$status

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' || { echo "Python 3.11 is needed; set PYTHON=<path of one>"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo "installing $$(grep -c '^[a-zA-Z0-9]' requirements.lock) packages of requirements.lock into $(VENV) with $(if $(UV),uv,pip): up to 7 GB"
	@$(call saying, $(if $(UV),$(BY_UV) || { echo "uv could not: pip tries"; $(BY_PIP); },$(BY_PIP)))
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@git rev-parse --is-inside-work-tree >/dev/null 2>&1 || $(BIN)/dvc config --local core.no_scm true
	@touch $(READY)
