# gisttracker's commands; `make` alone lists them. Everything Python lives in .venv.
PYTHON ?= python3
BIN := .venv/bin
RUNTIME := .venv/.runtime
TOOLS := .venv/.tools

.DEFAULT_GOAL := help
.PHONY: help build demo run sync test kills fuzz bench cover lint openapi format clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: $(RUNTIME) ## install what the service needs into .venv

demo: $(RUNTIME) ## show the whole job: no tokens, no database server
	@$(BIN)/python tests/demo.py

run: $(RUNTIME) ## serve the API on port 3000 (PORT) with SQLite, or MySQL with DATABASE_HOST
	@$(BIN)/python manage.py migrate --verbosity 0
	@[ -e .secret-key ] || (umask 077; $(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))' >.secret-key)
	@[ -n "$$SECRET_KEY$$SECRET_KEY_FILE" ] || grep -qs '^SECRET_KEY.*=.' .env || export SECRET_KEY_FILE=.secret-key; \
	export HTTPS=$${HTTPS:-false}; exec $(BIN)/gunicorn -c python:gisttracker.gunicorn gisttracker.wsgi

sync: $(RUNTIME) ## one sync against the real APIs; needs PIPEDRIVE_TOKEN
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py sync_gists

test: $(TOOLS) ## the whole suite on SQLite, then on a throw-away MySQL-compatible server
	@sh tests/install-system-packages.sh server || [ -z "$$CI" ]
	@echo "--- on SQLite"
	@DATABASE_HOST= $(BIN)/python -m pytest -q $(ARGS)
	@echo "--- on a MySQL-compatible server"
	@$(BIN)/python tests/with_mysql.py $(BIN)/python -m pytest -q $(ARGS)

kills: $(TOOLS) ## kill the worker 200 times (KILLS) at random moments, on both databases
	@DATABASE_HOST= KILLS=$(or $(KILLS),200) $(BIN)/python -m pytest -q tests/test_kills.py
	@KILLS=$(or $(KILLS),200) $(BIN)/python tests/with_mysql.py $(BIN)/python -m pytest -q tests/test_kills.py

fuzz: $(TOOLS) ## schemathesis against the running API on a MySQL-compatible server, 500 examples (EXAMPLES)
	@EXAMPLES=$(or $(EXAMPLES),500) $(BIN)/python tests/with_mysql.py $(BIN)/python -m pytest -q tests/test_schemathesis.py

bench: $(TOOLS) ## how the API scales from 1,000 to 100,000 people, side by side
	@$(BIN)/python tests/with_mysql.py $(BIN)/python tests/bench/api.py

cover: $(TOOLS) ## the suite on SQLite with a report of what it covers
	@DATABASE_HOST= $(BIN)/python -m pytest -q --cov=people --cov=sync --cov=gisttracker --cov-report=term-missing:skip-covered

lint: $(TOOLS) ## ruff, mypy, missing migrations; Dockerfile, shell, workflows, manifests, Terraform
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy .
	@DATABASE_HOST= $(BIN)/python manage.py makemigrations --check --dry-run
	@$(BIN)/hadolint Dockerfile
	@$(BIN)/shellcheck tests/install-system-packages.sh tests/lint_deploy.sh .ci/run deploy/*.sh deploy/kubernetes/overlays/local/try.sh
	@$(BIN)/yamllint --strict --config-file .yamllint.yml .github deploy docker-compose.yml
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/actionlint .github/workflows/*.yml
	@$(BIN)/zizmor --offline --quiet .github
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh tests/lint_deploy.sh

openapi: $(TOOLS) ## write the API's description to tests/openapi.yaml, where a test compares it
	@DATABASE_HOST= $(BIN)/python manage.py spectacular --validate --fail-on-warn --file tests/openapi.yaml

format: $(TOOLS) ## let ruff format the code
	@$(BIN)/ruff format -q .

clean: ## remove .venv, caches and the SQLite file of `make run`
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis static-collected htmlcov .coverage
	rm -f .secret-key gisttracker.sqlite3 gisttracker.sqlite3-shm gisttracker.sqlite3-wal
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUNTIME): requirements.txt
	@PYTHON="$(PYTHON)" sh tests/install-system-packages.sh build
	@echo "Installing what the service needs into .venv ..."
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r requirements.txt
	@touch $@

$(TOOLS): $(RUNTIME) tests/requirements.txt
	@echo "Installing the test tools into .venv ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -r tests/requirements.txt
	@touch $@
