# Two commands do all the set-up on a fresh machine: `make run` starts the broker, `make test` passes the tests.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: compat-foreign run test check format stubs schemas docs compat compat-results compat-faults compat-differential compat-codec compat-clients compat-storage oracle bench bench-startup bench-decode fuzz torture clean

run: $(VENV)/run.stamp
	$(BIN)/python -m pykbroker $(ARGS)

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest $(ARGS)

check: $(VENV)/check.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p pykbroker
	$(BIN)/lint-imports

format: $(VENV)/check.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# What is generated: each has a test that makes it anew and compares.
schemas: oracle
	$(BIN)/python scripts/convert_schemas.py "$$($(BIN)/python compat/oracle/kafka.py install)"

stubs: $(VENV)/test.stamp
	$(BIN)/python scripts/make_stubs.py

docs: $(VENV)/test.stamp
	$(BIN)/python -m pykbroker.config.page > docs/CONFIGS.md
	$(BIN)/python scripts/make_limits_page.py
	$(BIN)/python scripts/make_semantics_pages.py

# Beside Apache Kafka: needs Java and Maven; says so where they are missing.
oracle: $(VENV)/test.stamp
	$(BIN)/python compat/oracle/kafka.py install

# The judge: every conformance check, on Kafka and on us.
compat: $(VENV)/test.stamp
	$(BIN)/python compat/run.py $(ARGS)

# Tansu, kfake and librdkafka's mock as well; makes compat/RESULTS.md.
compat-results: $(VENV)/test.stamp
	$(BIN)/python compat/results.py $(ARGS)

compat-faults: $(VENV)/test.stamp
	$(BIN)/python compat/faults/run.py $(ARGS)

# The same seeded requests to Kafka and to us; ARGS="--replay SEED" shows one sequence. DIFFERENCES.md has what may differ.
compat-differential: $(VENV)/test.stamp
	$(BIN)/python -m compat.differential.run $(ARGS)

compat-codec: $(VENV)/test.stamp
	$(BIN)/python -m compat.codec.java_codec $(ARGS)

compat-storage: $(VENV)/test.stamp
	$(BIN)/python -m compat.storage.dump_log_segments

compat-clients: $(VENV)/test.stamp
	$(BIN)/python compat/clients/run.py $(ARGS)

# The tests that other projects wrote for their clients, unchanged: fetched and built when first run.
compat-foreign: $(VENV)/test.stamp
	$(BIN)/python -m compat.foreign.run --markdown compat/FOREIGN.md $(ARGS)

bench: $(VENV)/test.stamp
	$(BIN)/python bench/run.py $(ARGS)

bench-startup: $(VENV)/test.stamp
	$(BIN)/python bench/startup.py

bench-decode: $(VENV)/test.stamp
	$(BIN)/python bench/decode.py

# Trying to break it: seeds are printed.
fuzz: $(VENV)/test.stamp
	$(BIN)/python -m tests.torture.fuzz $(ARGS)

torture: $(VENV)/test.stamp
	$(BIN)/python tests/torture/kill_cycles.py --cycles 100 $(ARGS)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/run.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fast]'
	touch $@

$(VENV)/test.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fast,test]'
	touch $@

$(VENV)/check.stamp: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[fast,test,check]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
