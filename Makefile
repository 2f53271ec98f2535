# Targets that run Python packages use the virtual environment .venv. It is made from requirements.lock when it is missing or out of date.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin/python -m
# uv is pinned in pyproject.toml, like all Python packages.
UV := $(shell sed -n 's/.*"\(uv==[0-9.]*\)".*/\1/p' pyproject.toml)

# Programs on this machine are reached without a proxy.
comma := ,
export no_proxy := $(addsuffix $(comma),$(or $(no_proxy),$(NO_PROXY)))localhost,127.0.0.1,::1
export NO_PROXY := $(no_proxy)

.DEFAULT_GOAL := help
.PHONY: help demo check_feed sql_client audit rejected test test-unit format bench bench_peers soak docker_build docker_up clean package deploy remote_collection_stream remote_aggregation_stream docker_down docker_clean manifests chart-docs feed-docs cluster-up cluster-down cluster-clean test-cluster lint lock

help: ## list the targets
	@sed -n 's/^\([a-z_-]*\):.*## /\1: /p' $(MAKEFILE_LIST) | awk -F': ' '{ printf "  make %-26s %s\n", $$1, $$2 }'

demo: $(VENV)/ready ## run the pipeline on this machine; Ctrl-C stops it (DOCUMENTS=3 ends it after three, FEED=jetstream reads Bluesky, FEED=path a feed of yours)
	@$(RUN) local.demo

check_feed: $(VENV)/ready ## read a feed for up to 30 s and show what becomes of it (FEED=my.yaml or a preset, CAPTURE=file, RECORD=file)
	@$(RUN) jobs.check_feed

sql_client: $(VENV)/ready ## open Flink's SQL client on the running demo, else on the cluster (SQL="SELECT ..." prints one result)
	@$(RUN) deploy.sql_client

audit: $(VENV)/ready ## check that each post is in the topic and in a document, on the running demo, else on the cluster
	@$(RUN) deploy.audit

rejected: $(VENV)/ready ## list what the feed's definition rejected, on the demo, else on the cluster (SHOW=0/123, REPLAY=code, DISCARD=code)
	@$(RUN) deploy.rejected

test: $(VENV)/ready lint ## run lint and all tests that need no cluster (TESTS="tests/unit/jobs -k cleaning" runs only these)
ifdef TESTS
	@$(RUN) pytest $(TESTS)
else
	@$(RUN) pytest --numprocesses logical --dist loadfile tests/unit
	@$(RUN) pytest --numprocesses 2 --dist loadfile tests/integration
endif

test-unit: $(VENV)/ready ## run the tests that start no part of the pipeline, with fewer random examples than make test
	@QUICK=1 $(RUN) pytest --numprocesses logical --dist loadfile --quiet tests/unit

format: $(VENV)/ready ## rewrite the Python files in the project's style
	@$(VENV)/bin/ruff check --fix --quiet
	@$(VENV)/bin/ruff format --quiet

bench: $(VENV)/ready ## measure both jobs against plain Python loops, latency, parsers and the live page (CASES=collector only that)
	@$(RUN) benchmarks

bench_peers: $(VENV)/ready .venv-peers/ready ## measure both jobs against other stream processors for Python and against Flink's SQL
	@$(RUN) benchmarks.peers

soak: $(VENV)/ready ## run both jobs while parts are killed and stopped at random, then the audit (MINUTES=30, SEED, RATE)
	@$(RUN) tests.soak

docker_build: ## build the container images with Docker, Podman or buildah (PUSH=host/team also pushes them there)
	@$(PYTHON) -m images.build $(if $(PUSH),--push '$(PUSH)')

docker_up: $(VENV)/ready ## load the images and install the chart without the jobs (kind, minikube, CONTEXT=NAME, else the test cluster)
	@$(RUN) deploy.release up

clean: ## delete dist/
	@rm -rf dist

package: $(VENV)/ready ## package the jobs as a zip in dist/
	@$(RUN) local.package

deploy: $(VENV)/ready ## load the image with the jobs' code into the cluster; jobs that run restart with it
	@$(RUN) deploy.release deploy

remote_collection_stream: $(VENV)/ready ## start the collector on the cluster
	@$(RUN) deploy.release run collector

remote_aggregation_stream: $(VENV)/ready ## start the aggregator on the cluster
	@$(RUN) deploy.release run aggregator

docker_down: $(VENV)/ready ## uninstall everything; the test cluster is stopped, too
	@$(RUN) deploy.release down

docker_clean: $(VENV)/ready ## docker_down, and delete the images and dist/
	@$(RUN) deploy.release clean

manifests: $(VENV)/ready ## write what the chart knows of feeds, and render k8s/*.yaml from the chart
	@$(RUN) deploy.manifests

chart-docs: ## write the chart's README from its template and values (needs helm-docs, which dev/cluster/build.sh tools builds)
	@helm-docs --chart-search-root helm --sort-values-order file --log-level warning

feed-docs: $(VENV)/ready ## write docs/reference/feed-definition.md from the schema and the presets
	@$(RUN) docs.reference.make_feed_definition

cluster-up: ## start the test cluster, a Kubernetes on this machine without Docker (needs root; CLUSTER_HOME is its folder)
	@dev/cluster/up.sh

cluster-down: ## stop the test cluster and delete its state; what was built stays
	@dev/cluster/down.sh

cluster-clean: ## cluster-down, and delete what was built for the test cluster
	@dev/cluster/down.sh --clean

test-cluster: $(VENV)/ready ## run the tests on Kubernetes, on the test cluster or on yours (CONTEXT=NAME)
	@$(RUN) tests.e2e
	@$(RUN) pytest tests/e2e

SCRIPTS := .ci/run $(wildcard dev/cluster/*.sh images/*/*.sh dev/stubs/images/*/*.sh)
CHART := helm/data-collection

lint: $(VENV)/ready ## check style, types, import layers, shell scripts and YAML
	@$(VENV)/bin/ruff check --quiet
	@$(VENV)/bin/ruff format --quiet --check
	@$(VENV)/bin/mypy --no-error-summary
	@$(VENV)/bin/lint-imports --no-logo 2>/dev/null
	@$(VENV)/bin/shellcheck --external-sources --source-path=SCRIPTDIR $(SCRIPTS)
	@$(VENV)/bin/yamllint --strict .github dev k8s skaffold.yaml $(addprefix $(CHART)/,Chart.yaml ci examples tests) $(wildcard $(CHART)/values*.yaml)

LOCK := $(VENV)/bin/uv pip compile --quiet --no-header --generate-hashes --python-version 3.11

lock: $(VENV)/ready ## pin all packages again in requirements.lock, and from it those of each image
	@$(LOCK) --all-extras pyproject.toml --output-file requirements.lock
	@$(LOCK) --constraint requirements.lock pyproject.toml --output-file images/flink/requirements.txt
	@for image in images/console images/simulator images/watchdog dev/stubs/images/mongodb dev/stubs/images/s3; do \
		$(LOCK) --constraint requirements.lock $$image/requirements.in --output-file $$image/requirements.txt || exit 1; done
	@$(LOCK) --no-config benchmarks/peers/requirements.in --output-file benchmarks/peers/requirements.txt

.venv-peers/ready: benchmarks/peers/requirements.txt | $(VENV)/ready
	@echo "installing the peers' packages into .venv-peers (once) ..."
	@$(VENV)/bin/python -m venv --clear .venv-peers
	@$(VENV)/bin/uv pip sync --quiet --require-hashes --python .venv-peers/bin/python benchmarks/peers/requirements.txt
	@touch $@

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
	@images/flink/patch-beam.sh $(VENV)
	@touch $@
