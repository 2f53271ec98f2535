# Everything runs from a virtual environment in .venv, made from the lock when it is missing or out of date.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin/python -m
# The installer's version stands in pyproject.toml, like every other.
UV := $(shell sed -n 's/.*"\(uv==[0-9.]*\)".*/\1/p' pyproject.toml)

# What runs on this machine is never asked through a proxy.
comma := ,
export no_proxy := $(addsuffix $(comma),$(or $(no_proxy),$(NO_PROXY)))localhost,127.0.0.1,::1
export NO_PROXY := $(no_proxy)

.DEFAULT_GOAL := help
.PHONY: help demo sql_client audit test test-unit format bench soak docker_build docker_up clean package deploy remote_collection_stream remote_aggregation_stream docker_down docker_clean manifests chart-docs cluster-up cluster-down cluster-clean test-cluster lint lock

help: ## show this list
	@sed -n 's/^\([a-z_-]*\):.*## /\1: /p' $(MAKEFILE_LIST) | awk -F': ' '{ printf "  make %-26s %s\n", $$1, $$2 }'

demo: $(VENV)/ready ## the whole pipeline on this machine; Ctrl-C stops it (DOCUMENTS=3 ends by itself, FEED=jetstream reads Bluesky)
	@$(RUN) local.demo

sql_client: $(VENV)/ready ## Flink's SQL client on the running demo, else on the cluster, with twitter_table (SQL="SELECT ..." prints one result)
	@$(RUN) deploy.sql_client

audit: $(VENV)/ready ## whether each post is in the topic and in a document, on the running demo, else on the cluster
	@$(RUN) deploy.audit

test: $(VENV)/ready lint ## every test that needs no cluster (TESTS="tests/unit/jobs -k cleaning": only these)
ifdef TESTS
	@$(RUN) pytest $(TESTS)
else
	@$(RUN) pytest --numprocesses logical --dist loadfile tests/unit
	@$(RUN) pytest tests/integration
endif

test-unit: $(VENV)/ready ## the tests that start no part of the pipeline
	@$(RUN) pytest --numprocesses logical --dist loadfile --quiet tests/unit

format: $(VENV)/ready ## rewrite the Python files in the project's style
	@$(VENV)/bin/ruff check --fix --quiet
	@$(VENV)/bin/ruff format --quiet

bench: $(VENV)/ready ## both jobs against bare Python loops, side by side, with the ratios
	@$(RUN) benchmarks

soak: $(VENV)/ready ## both jobs while parts are killed and stopped at random, for MINUTES=30, then the audit (SEED, RATE)
	@$(RUN) tests.soak

docker_build: ## the container images, with Docker, Podman or buildah (PUSH=host/team: also into that registry)
	@$(PYTHON) -m images.build $(if $(PUSH),--push '$(PUSH)')

docker_up: $(VENV)/ready ## the images onto a cluster (kind, minikube, CONTEXT=NAME or one of its own) and the chart without the jobs
	@$(RUN) deploy.release up

clean: ## delete what was packaged
	@rm -rf dist

package: $(VENV)/ready ## the jobs as a zip in dist/
	@$(RUN) local.package

deploy: $(VENV)/ready ## the jobs' code into the cluster; jobs that run go on with it
	@$(RUN) deploy.release deploy

remote_collection_stream: $(VENV)/ready ## start the collector on the cluster
	@$(RUN) deploy.release run collector

remote_aggregation_stream: $(VENV)/ready ## start the aggregator on the cluster
	@$(RUN) deploy.release run aggregator

docker_down: $(VENV)/ready ## uninstall it all; a cluster of its own ends
	@$(RUN) deploy.release down

docker_clean: $(VENV)/ready ## that, and delete the images and dist/
	@$(RUN) deploy.release clean

manifests: $(VENV)/ready ## render k8s/*.yaml from the chart
	@$(RUN) deploy.manifests

chart-docs: ## write the chart's README from its template and values (needs helm-docs: dev/cluster/build.sh tools)
	@helm-docs --chart-search-root helm --sort-values-order file --log-level warning

cluster-up: ## a Kubernetes of its own on this machine, without Docker (needs root; CLUSTER_HOME moves it)
	@dev/cluster/up.sh

cluster-down: ## stop that cluster and delete what ran in it; what was built stays
	@dev/cluster/down.sh

cluster-clean: ## delete also what was built for it
	@dev/cluster/down.sh --clean

test-cluster: $(VENV)/ready ## the tests on Kubernetes, on that cluster or on yours (CONTEXT=NAME)
	@$(RUN) tests.e2e
	@$(RUN) pytest tests/e2e

SCRIPTS := .ci/run $(wildcard dev/cluster/*.sh images/*/*.sh dev/stubs/images/*/*.sh)
CHART := helm/data-collection

lint: $(VENV)/ready ## style, types and layers
	@$(VENV)/bin/ruff check --quiet
	@$(VENV)/bin/ruff format --quiet --check
	@$(VENV)/bin/mypy --no-error-summary
	@$(VENV)/bin/lint-imports --no-logo 2>/dev/null
	@$(VENV)/bin/shellcheck --external-sources --source-path=SCRIPTDIR $(SCRIPTS)
	@$(VENV)/bin/yamllint --strict .github dev k8s skaffold.yaml $(addprefix $(CHART)/,Chart.yaml ci examples tests) $(wildcard $(CHART)/values*.yaml)

LOCK := $(VENV)/bin/uv pip compile --quiet --no-header --generate-hashes --python-version 3.11

lock: $(VENV)/ready ## pin again what the pinned packages need, and from that what each image needs
	@$(LOCK) --all-extras pyproject.toml --output-file requirements.lock
	@$(LOCK) --constraint requirements.lock pyproject.toml --output-file images/flink/requirements.txt
	@for image in images/simulator images/watchdog dev/stubs/images/mongodb dev/stubs/images/s3; do \
		$(LOCK) --constraint requirements.lock $$image/requirements.in --output-file $$image/requirements.txt || exit 1; done

$(VENV)/ready: requirements.lock
	@case $$PWD in *[!A-Za-z0-9/._+@-]*) \
		echo "error: Flink's scripts do not take the path '$$PWD': move this folder to one of A-Z, a-z, 0-9 and / . _ + @ -" >&2; \
		exit 1;; esac
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
		echo "error: Python 3.11 is needed, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || true)"; \
		echo "  Debian 12: apt-get install python3-venv       Fedora: dnf install python3.11"; \
		echo "  elsewhere, with uv (https://docs.astral.sh/uv): uv python install 3.11"; \
		echo "  then: make PYTHON=python3.11, or make PYTHON=\$$(uv python find 3.11)"; exit 1; } >&2
	@echo "installing the Python packages into $(VENV) (once) ..."
	@$(VENV)/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || \
		$(PYTHON) -m venv --clear $(VENV) || { echo "error: the venv module is missing: install python3-venv" >&2; exit 1; }
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check $(UV)
	@$(VENV)/bin/uv pip sync --quiet --require-hashes --python $(VENV)/bin/python requirements.lock
	@touch $@
