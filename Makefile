# The front door. `make help` lists what there is.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

TIER ?= lan
ARGS ?=
CASES ?= 100000
DB ?= build/osv
REPORT ?= build/audit
PROMETHEUS ?= http://127.0.0.1:9090
# Debian packages of the control machine: its Python, SSH, the npm client that fetches what the page
# borrows, and what the tests run for real.
CONTROL_DEBS := python3-venv openssh-client npm
TEST_DEBS := systemd-container mmdebstrap iptables iproute2 ethtool nftables espeak-ng redis-server chromium curl
PYTHON := .venv/bin/python
PLAY := .venv/bin/ansible-playbook
LINTED := service/cosyhost dashboards tests roles/model/files/model.py roles/backup/files/backup.py roles/tls/files/certificate.py
# A test process a core. Hosts are waited for more than they compute: three lanes (tests/e2e/conftest.py).
SIDE_BY_SIDE := .venv/bin/pytest -n auto --dist loadfile
LANES := .venv/bin/pytest -n 3 --no-loadscope-reorder
export PYTHONPATH := $(CURDIR)/service
export PYTHONDONTWRITEBYTECODE := 1

# Targets that make hosts or install packages run as root; an ordinary user is taken through sudo.
ROOT_TARGETS := demo test test-unit test-browser test-e2e test-nightly test-fuzz bench down tools
ifneq ($(shell id -u),0)
ifneq ($(filter $(ROOT_TARGETS),$(MAKECMDGOALS)),)
ifeq ($(shell command -v sudo),)
$(error 'make $(MAKECMDGOALS)' makes real hosts and needs root: run it as root, or install sudo)
endif
.PHONY: $(MAKECMDGOALS)
$(MAKECMDGOALS):
	@sudo $(MAKE) --no-print-directory $@ $(MAKEOVERRIDES)
HANDED_OVER := 1
endif
endif

ifndef HANDED_OVER
.PHONY: help demo deploy preflight audit backup restore test lint test-unit test-browser test-e2e test-nightly test-fuzz bench dashboards pictures sbom vuln licences down tools lock

help: ## this list
	@grep -hE '^[a-z][a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: tools ## a real host in the testbed with the preview engine; prints its URL
	@$(PYTHON) -m tests.demo up

deploy: .venv/ready ## provision your hosts: make deploy TIER=lan ARGS=--check
	$(PLAY) -i inventories/$(TIER) $(ARGS) playbooks/site.yml

preflight: .venv/ready ## what would stop a deployment; changes nothing
	$(PLAY) -i inventories/$(TIER) $(ARGS) playbooks/preflight.yml

audit: .venv/ready ## proof from the live hosts of TIER: a table, and the report in REPORT=build/audit
	$(PLAY) -i inventories/$(TIER) -e audit_report=$(REPORT) $(ARGS) playbooks/audit.yml

backup: .venv/ready ## a backup of TIER now
	$(PLAY) -i inventories/$(TIER) $(ARGS) playbooks/backup.yml

restore: .venv/ready ## put back what a host of TIER lacks, from its last backup
	$(PLAY) -i inventories/$(TIER) $(ARGS) playbooks/restore.yml

test: lint test-unit test-browser test-e2e ## everything but test-nightly and test-fuzz

lint: .venv/ready ## ansible-lint, yamllint, ruff, mypy, import-linter
	.venv/bin/ruff check service dashboards tests roles
	.venv/bin/ruff format --check service dashboards tests roles
	.venv/bin/mypy $(LINTED)
	.venv/bin/lint-imports --no-cache
	.venv/bin/yamllint --strict .
	ANSIBLE_HOME=build/ansible .venv/bin/ansible-lint --offline --strict

test-unit: tools ## tests that need no host
	$(SIDE_BY_SIDE) tests/unit tests/roles tests/dashboards tests/engine_contract tests/faults tests/fuzz tests/abuse $(ARGS)

test-browser: tools ## the studio's widgets in headless Chromium
	$(SIDE_BY_SIDE) tests/browser $(ARGS)

test-e2e: tools ## provisions local, lan and demo in the testbed and uses them
	$(LANES) tests/e2e tests/e2e_testbed $(ARGS)

test-nightly: tools ## what `make test` leaves to the night: volumes and S3, the engine's installation
	$(LANES) tests/e2e --nightly $(ARGS)

# Not part of `make test`, which runs some hundred cases of each: by hand or nightly.
test-fuzz: tools ## wrong inputs by the 100,000 for each target: make test-fuzz CASES=1000
	@$(PYTHON) -m tests.fuzz --cases $(CASES) $(ARGS)

bench: tools ## make bench BENCH=provision; ends with one JSON line
	@test -f "tests/bench/$(BENCH).py" || { echo "make bench BENCH=name; there are: $$(cd tests/bench && ls *.py | grep -v '^_' | sed 's/\.py//' | xargs)" >&2; exit 2; }
	@$(PYTHON) -m tests.bench.$(BENCH) $(ARGS)

dashboards: .venv/ready ## write dashboards/json anew from the code in dashboards/
	$(PYTHON) -m dashboards

# Not part of `make test`: it needs a host under load, whose Prometheus an SSH tunnel brings here.
pictures: tools ## docs/cosyhost-*.png from live data: make pictures PROMETHEUS=http://127.0.0.1:9090
	npm ci --prefix dashboards/render --ignore-scripts --no-audit --no-fund --loglevel=error
	$(PYTHON) -m dashboards.render $(PROMETHEUS) docs $(ARGS)

sbom: .venv/ready ## bills of materials (CycloneDX) of all that is pinned, in build/sbom
	@$(PYTHON) -m tests.supply.sbom

vuln: .venv/ready ## known vulnerabilities in what is pinned, without network: make vuln DB=build/osv
	@$(PYTHON) -m tests.supply.vuln $(DB) $(ARGS)

licences: .venv/ready ## docs/licences.md anew; asks the package index about what is new in the locks
	@$(PYTHON) -m tests.supply.page

down: tools ## end the demo and every host of the testbed
	@$(PYTHON) -m tests.demo down
	@$(PYTHON) -m tests.testbed down

lock: .venv/ready ## write the hash-locked requirements anew from their sources
	for extra in web worker exporter; do $(LOCK) --python-version 3.10 --extra $$extra -o files/requirements/$$extra.txt; done
	$(LOCK) --python-version 3.11 --all-extras files/requirements/control.in -o files/requirements/control.txt
	cd files/requirements/engine && $(LOCK_ENGINE) --extra worker $(SERVICE) cosyvoice-cu128.in -o cosyvoice-cu128.txt
	cd files/requirements/engine && $(LOCK_ENGINE) vllm_omni-cu130.in -o vllm_omni-cu130.txt
	cd files/requirements/engine && $(LOCK_ENGINE) --extra worker --no-emit-package torch $(SERVICE) cosyvoice-cpu.in \
	  -o cosyvoice-cpu.txt && cat torch-cpu.txt >>cosyvoice-cpu.txt

# Python 3.11 to 3.13, as the role `engine` asks for.
LOCK_ENGINE = $(CURDIR)/.venv/bin/uv pip compile $(LOCKED) --python-version 3.11
SERVICE = $(CURDIR)/service/pyproject.toml
LOCKED = --quiet --universal --generate-hashes --no-header --no-annotate --no-emit-index-url --no-emit-find-links
LOCK = .venv/bin/uv pip compile $(LOCKED) service/pyproject.toml

# What the tests and the demo run for real, installed once.
tools: .venv/ready
	@missing=$$(for deb in $(TEST_DEBS); do dpkg-query -W -f '$${Status}' $$deb 2>/dev/null | grep -q 'ok installed' || echo $$deb; done); \
	if [ -n "$$missing" ]; then echo "installing: "$$missing; $(APT) $$missing >build/apt.log 2>&1 || { tail -n 5 build/apt.log >&2; echo "make: apt could not install: "$$missing" (see build/apt.log)" >&2; exit 1; }; fi

APT = apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends

.venv/ready: files/requirements/control.txt
	@mkdir -p build
	@command -v python3 >/dev/null || { echo "make: python3 is missing: apt install $(CONTROL_DEBS)" >&2; exit 1; }
	@python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or later is needed here (Debian 12, Ubuntu 24.04); this is $$(python3 --version)" >&2; exit 1; }
	@python3 -c 'import ensurepip' 2>/dev/null && command -v ssh >/dev/null && command -v npm >/dev/null || { \
	  [ "$$(id -u)" = 0 ] || { echo "make: packages are missing: sudo apt install $(CONTROL_DEBS)" >&2; exit 1; }; \
	  echo "installing: $(CONTROL_DEBS)"; $(APT) $(CONTROL_DEBS) >build/apt.log 2>&1; }
	@echo "preparing .venv (about a minute)"
	@rm -rf .venv && python3 -m venv .venv
	@.venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r files/requirements/control.txt 2>build/pip.log || { grep -v '^WARNING' build/pip.log >&2; exit 1; }
	@touch $@
endif
