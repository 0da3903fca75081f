# What a person runs is what CI runs. Every target sets up what it needs in .venv.
PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet -c constraints.txt
PACK := models/packs/en-starter

.PHONY: serve test soak test-nightly test-clients test-engines test-coqui test-chattts coqui test-vllm vllm check lint-images prove-images install bench bench-publish starter starter-recognizer starter-language starter-voice starter-card clean

serve: $(VENV)/base  ## install what the service needs and start it
	$(BIN)/parley serve --host $(HOST) --port $(PORT)

install: $(VENV)/dev  ## everything: service, training, development

test: $(VENV)/dev  ## all tests but those of engines with environments of their own
	$(BIN)/python -m pytest

test-engines: test-vllm test-coqui test-chattts  ## real engines, each in an environment of its own

test-coqui: $(VENV)-coqui/ready  ## the real Coqui TTS
	$(VENV)-coqui/bin/python -m pytest tests/engines/test_coqui*.py

test-chattts: $(VENV)-coqui/chattts  ## the real ChatTTS; AGPL, see docs/voices.md
	$(VENV)-coqui/bin/python -m pytest tests/engines/test_chattts.py

coqui: $(VENV)-coqui/ready  ## Coqui TTS, in an environment of its own

test-vllm: $(VENV)/dev $(VENV)-vllm/ready  ## the real vLLM server
	$(BIN)/python -m pytest tests/engines/test_vllm.py

vllm: $(VENV)-vllm/ready  ## vLLM for a CPU, in an environment of its own

test-nightly: $(VENV)/dev  ## 100,000 random client events against a session, some minutes
	PARLEY_RANDOM_EVENTS=100000 $(BIN)/python -m pytest tests/app/test_session_properties.py

soak: $(VENV)/dev  ## what clients do over hours or out of malice, in some minutes; SOAK=WORD for some rows, a wrong word lists them
	$(BIN)/python -m tests.soak $(SOAK)

test-clients: $(VENV)/dev $(VENV)-clients/ready  ## stock clients against the running service on the starter pack
	$(VENV)-clients/bin/python -m pytest tests/clients

check: $(VENV)/dev  ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m app.licence_check
	$(MAKE) --no-print-directory lint-images

lint-images: $(VENV)/dev  ## Dockerfiles, and the compose file against its schema
	$(BIN)/hadolint docker/Dockerfile docker/*.Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

prove-images: $(VENV)/dev  ## the images' steps without a container engine: installs and starts, a few minutes
	$(BIN)/python docker/prove.py

bench: $(VENV)/bench  ## latency of whole turns, on this machine
	$(BIN)/parley bench

bench-%: $(VENV)/bench  ## one bench by name: talk, gateway, recognizer, synthesizer, vllm
	$(BIN)/parley bench $* $(BENCH)

bench-publish: $(VENV)/bench  ## the figures in runs/bench, into the README
	mkdir -p docs/bench
	cp runs/bench/*.json runs/bench/*.svg docs/bench/
	$(BIN)/python -m app.bench.readme

starter: starter-recognizer starter-language starter-voice starter-card  ## train the starter pack from nothing

starter-recognizer: $(VENV)/dev
	$(BIN)/python -m finetune.starter.recognizer

starter-language: $(VENV)/dev
	$(BIN)/python -m finetune.starter.language

starter-voice: $(VENV)/dev
	$(BIN)/python -m finetune.starter.voice

starter-card: $(VENV)/dev
	$(BIN)/python -m finetune.starter.card

$(VENV)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || \
		(echo "Parley needs Python 3.11 to 3.13; choose one with PYTHON=python3.12" && false)
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/base: $(VENV)/python pyproject.toml constraints.txt
	@echo "Installing Parley into $(VENV) (about a minute) ..."
	$(PIP) -e .
	@touch $@

$(VENV)/bench: $(VENV)/base
	$(PIP) -e '.[bench]'
	@touch $@

$(VENV)/dev: $(VENV)/base
	@echo "Installing what training and tests need into $(VENV) (a few minutes) ..."
	$(PIP) -e '.[train,dev]'
	@touch $@

$(VENV)-clients/ready: $(VENV)/python tests/clients/requirements.txt constraints-clients.txt tests/clients/node/package-lock.json
	@echo "Installing the stock clients into $(VENV)-clients (700 MB, two minutes) ..."
	$(PYTHON) -m venv $(VENV)-clients
	$(VENV)-clients/bin/python -m pip --disable-pip-version-check install --quiet --no-compile \
		-c constraints-clients.txt -r tests/clients/requirements.txt
	cd tests/clients/node && npm ci --loglevel=error --no-fund --no-audit
	@touch $@

$(VENV)-coqui/ready: $(VENV)/python pyproject.toml constraints-coqui.txt
	@echo "Installing Coqui TTS into $(VENV)-coqui (6 GB, a few minutes) ..."
	$(PYTHON) -m venv $(VENV)-coqui
	$(VENV)-coqui/bin/python -m pip --disable-pip-version-check install --quiet --no-compile \
		-c constraints-coqui.txt -e '.[coqui]' pytest pytest-asyncio
	@touch $@

$(VENV)-coqui/chattts: $(VENV)-coqui/ready
	$(VENV)-coqui/bin/python -m pip --disable-pip-version-check install --quiet --no-compile \
		-c constraints-coqui.txt -e '.[chattts]'
	@touch $@

$(VENV)-vllm/ready: $(VENV)/python constraints-vllm.txt
	@echo "Installing vLLM for a CPU into $(VENV)-vllm (a few minutes) ..."
	$(PYTHON) -m venv $(VENV)-vllm
	$(VENV)-vllm/bin/python -m pip --disable-pip-version-check install --quiet --no-compile -c constraints-vllm.txt torch
	$(VENV)-vllm/bin/python -m pip --disable-pip-version-check install --quiet --no-compile --no-deps -r constraints-vllm.txt
	@touch $@

clean:
	rm -rf $(VENV) $(VENV)-vllm $(VENV)-coqui $(VENV)-clients tests/clients/node/node_modules build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
