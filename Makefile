# Commands for developing and running gisttracker; `make` without a target lists them. Python packages live in .venv.
PYTHON ?= python3
BIN := .venv/bin
RUNTIME := .venv/.runtime
TOOLS := .venv/.tools
NODE_TOOLS := .venv/node/.installed

# With it, each process that a test starts would compile every module again.
unexport PYTHONDONTWRITEBYTECODE

# Every installed file has a hash in a requirements file. Packages are built without isolation, because pip does not check
# what it downloads into an isolated build; requirements-build.txt has what the build needs. Python compiles the modules
# that it imports; compiling all of them would take a third of the time of the installation.
PIP_INSTALL := $(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes --no-build-isolation --no-compile
REQUIREMENTS := requirements-build requirements tests/requirements
LINTERS := python types migrations openapi dockerfile shell yaml workflows deploy

# Node.js is one of the tools in .venv; redocly reports its use unless this is switched off.
NODE = PATH="$(CURDIR)/$(BIN):$(CURDIR)/.venv/node/node_modules/.bin:$$PATH" REDOCLY_TELEMETRY=off REDOCLY_SUPPRESS_UPDATE_NOTICE=true

NO_NODE := npm could not install the packages in tests/clients, so what needs them is skipped. In CI that is an error.

.DEFAULT_GOAL := help
.PHONY: help build demo run sync quick test proof kills fuzz attack bench bench-api bench-admin bench-sync bench-stream cover lint $(LINTERS:%=lint-%) screenshots openapi settings format pins upgrade clean wipe

help: ## list the available commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: $(RUNTIME) ## install the service's packages into .venv

demo: $(RUNTIME) ## run the whole service against stand-ins: no tokens, no database server
	@$(BIN)/python tests/demo.py

run: $(RUNTIME) ## serve the API on port 3000 (LISTEN_PORT), with SQLite, or MySQL if DATABASE_HOST is set
	@$(BIN)/python manage.py migrate --verbosity 0
	@[ -e .secret-key ] || (umask 077; $(BIN)/python -c 'import secrets; print(secrets.token_urlsafe(50))' >.secret-key)
	@[ -n "$$SECRET_KEY$$SECRET_KEY_FILE" ] || grep -qs '^SECRET_KEY.*=.' .env || export SECRET_KEY_FILE=.secret-key; \
	export REQUIRE_HTTPS=$${REQUIRE_HTTPS:-false}; exec $(BIN)/python -m gunicorn -c python:gisttracker.web.gunicorn gisttracker.web.asgi

sync: $(RUNTIME) ## run one sync against the real APIs; requires PIPEDRIVE_TOKEN
	@$(BIN)/python manage.py migrate --verbosity 0
	@$(BIN)/python manage.py sync_gists

# Which tests run where is said by their markers; pyproject.toml explains them.
PYTEST := $(BIN)/python -m pytest -q --dist loadfile

# More processes than cores, because some tests wait; none of these share a server, so each process takes any test.
quick: $(TOOLS) ## run the fast tests: on SQLite, without processes
	@DATABASE_HOST= $(BIN)/python -m pytest -q -n 3 --dist worksteal -m "not slow and not server and not proof" $(ARGS)

# The system packages first, all at once, so that SYSTEM_PACKAGES=no names all of them.
test: ## run the test suite on SQLite, then what depends on the database on a temporary MySQL-compatible server
	@PYTHON="$(PYTHON)" sh tests/install-system-packages.sh $(if $(wildcard $(RUNTIME)),,build) server tools
	@$(MAKE) --no-print-directory $(TOOLS)
	@$(MAKE) --no-print-directory $(NODE_TOOLS) || { [ -z "$$CI" ] && echo "$(NO_NODE)"; }
	@echo "--- on SQLite"
	@DATABASE_HOST= $(PYTEST) -n 4 -m "not server and not proof" $(ARGS)
	@echo "--- on a MySQL-compatible server"
	@$(BIN)/python tests/with_mysql.py $(PYTEST) -n 4 -m "(both or server) and not proof" $(ARGS)

# One after the other, also with `make -j`. CPU times are exact only on a machine that does nothing else.
proof: $(TOOLS) ## run what takes hours: the model, whole tables of faults and lies, marks of slow tests, kills, fuzz, attack
	@sh tests/install-system-packages.sh model
	@DATABASE_HOST= $(PYTEST) -n 2 -m "not server" --check-slow
	@$(MAKE) --no-print-directory kills KILLS=$(or $(KILLS),1000)
	@$(MAKE) --no-print-directory fuzz
	@$(MAKE) --no-print-directory attack

kills: $(TOOLS) ## kill workers 200 times (KILLS) at random moments, on both databases; on MySQL also three at once
	@DATABASE_HOST= KILLS=$(or $(KILLS),200) $(PYTEST) -m "not server" tests/test_kills.py
	@KILLS=$(or $(KILLS),200) $(BIN)/python tests/with_mysql.py $(PYTEST) -m "both or server" tests/test_kills.py

fuzz: $(TOOLS) ## fuzz the running API with schemathesis on a MySQL-compatible server, 500 examples (EXAMPLES)
	@EXAMPLES=$(or $(EXAMPLES),500) $(BIN)/python tests/with_mysql.py $(PYTEST) tests/test_schemathesis.py

attack: $(TOOLS) ## attack the running API with slow clients, floods and a restart of the database, and measure it
	@$(BIN)/python tests/attack/run.py

# One after the other, also with `make -j`: benchmarks that run together measure each other.
bench: ## run all benchmarks
	@$(MAKE) --no-print-directory bench-api
	@$(MAKE) --no-print-directory bench-admin
	@$(MAKE) --no-print-directory bench-sync
	@$(MAKE) --no-print-directory bench-stream

bench-api: $(TOOLS) ## measure the API's response times with 1,000 and with 100,000 people
	@$(BIN)/python tests/with_mysql.py $(BIN)/python tests/bench/api.py

bench-admin: $(TOOLS) ## measure the admin's pages with 100,000 people and 1,000,000 gists
	@$(BIN)/python tests/with_mysql.py $(BIN)/python tests/bench/admin.py

bench-sync: $(TOOLS) ## measure the throughput of sync_gists
	@$(BIN)/python tests/with_mysql.py $(BIN)/python tests/bench/sync.py

bench-stream: $(TOOLS) ## measure how soon a gist is in Pipedrive, with 100,000 people; ARGS="--minutes 1440" for a day
	@$(BIN)/python tests/with_mysql.py $(BIN)/python tests/bench/stream.py $(ARGS)

cover: $(TOOLS) ## run the test suite on SQLite and report its coverage
	@DATABASE_HOST= $(BIN)/python -m pytest -q --cov=people --cov=sync --cov=gisttracker --cov-report=term-missing:skip-covered

# The hooks in .pre-commit-config.yaml run the same targets.
lint: $(LINTERS:%=lint-%) ## check Python, missing migrations, OpenAPI, the Dockerfile, shell scripts, workflows, manifests and Terraform

lint-python: $(TOOLS)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

lint-types: $(TOOLS)
	@$(BIN)/mypy .

lint-migrations: $(TOOLS)
	@DATABASE_HOST= $(BIN)/python manage.py makemigrations --check --dry-run

lint-openapi: $(NODE_TOOLS)
	@$(NODE) redocly lint --config tests/clients/redocly.yaml tests/openapi.yaml
	@$(NODE) spectral lint --quiet --fail-severity hint --ruleset tests/clients/spectral.yaml tests/openapi.yaml

lint-dockerfile: $(TOOLS)
	@$(BIN)/hadolint Dockerfile

lint-shell: $(TOOLS)
	@$(BIN)/shellcheck tests/install-system-packages.sh tests/lint_deploy.sh .ci/run deploy/*.sh deploy/kubernetes/overlays/local/*.sh

lint-yaml: $(TOOLS)
	@$(BIN)/yamllint --strict --config-file .yamllint.yml .github deploy docker-compose.yml .pre-commit-config.yaml

lint-workflows: $(TOOLS)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/actionlint .github/workflows/*.yml
	@$(BIN)/zizmor --offline --quiet .github

lint-deploy: $(TOOLS)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh tests/lint_deploy.sh

screenshots: $(TOOLS) ## take the pictures of the admin in docs/screenshots with the machine's Chromium
	@$(BIN)/python tests/screenshots.py

openapi: $(TOOLS) ## write the OpenAPI schema to tests/openapi.yaml, which a test checks for changes
	@DATABASE_HOST= $(BIN)/python manage.py spectacular --validate --fail-on-warn --file tests/openapi.yaml

settings: $(RUNTIME) ## write the table of all settings into docs/settings.md, which a test compares with the code
	@$(BIN)/python tests/settings_table.py

format: $(TOOLS) ## format the Python code with ruff
	@$(BIN)/ruff format -q .

pins: $(TOOLS) ## compile the .in files into the .txt files with hashes, and keep all versions that still fit
	@for name in $(REQUIREMENTS); do \
	    $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 --generate-hashes $(UPGRADE) \
	        --output-file $$name.txt $$name.in || exit 1; \
	done
	@git diff --unified=0 -- $(REQUIREMENTS:%=%.txt) | grep -E '^[-+][A-Za-z0-9].*==' || echo "No version changed."
	@echo "Check the result with \`make lint test\`, which installs it, and commit the .in and .txt files together."

upgrade: UPGRADE := --upgrade
upgrade: pins ## like pins, but with the newest versions that the .in files allow

clean: ## remove what can be built again: .venv, caches and collected files; data is kept
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis static-collected htmlcov .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

wipe: clean ## remove also the data of `make run`: the SQLite database with all people and keys, and .secret-key
	@echo "Deleting all data of make run: gisttracker.sqlite3 (people, gists, API keys, logins) and .secret-key."
	rm -f .secret-key gisttracker.sqlite3 gisttracker.sqlite3-shm gisttracker.sqlite3-wal

$(RUNTIME): requirements-build.txt requirements.txt
	@PYTHON="$(PYTHON)" sh tests/install-system-packages.sh build
	@echo "Installing the service's packages into .venv ..."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@$(PIP_INSTALL) -r requirements-build.txt
	@$(PIP_INSTALL) -r requirements.txt
	@touch $@

$(NODE_TOOLS): $(TOOLS) tests/clients/package.json tests/clients/package-lock.json
	@echo "Installing the linters of the OpenAPI document into .venv/node ..."
	@mkdir -p .venv/node
	@cp tests/clients/package.json tests/clients/package-lock.json .venv/node
	@cd .venv/node && PATH="$(CURDIR)/$(BIN):$$PATH" npm ci --ignore-scripts --no-audit --no-fund --loglevel error --fetch-retries 1
	@touch $@

$(TOOLS): $(RUNTIME) tests/requirements.txt
	@echo "Installing the development tools into .venv ..."
	@$(PIP_INSTALL) -r tests/requirements.txt
	@touch $@
