# make demo   sets everything up, then deploys the example to emulated boards
# make test   the same set-up, then all checks and tests
.PHONY: setup demo test check format lint types tests docs readme lock clean
PY := .venv/bin/python

setup:
	@scripts/setup.sh

demo: setup
	@$(PY) examples/fashion_mnist/data.py
	@.venv/bin/tinydeploy deploy --config examples/fashion_mnist/tinydeploy.toml

test: setup check

check: format lint types tests docs

format:
	@.venv/bin/ruff format --check --quiet . || { echo "run: .venv/bin/ruff format ."; exit 1; }

lint:
	@.venv/bin/ruff check --quiet .

types:
	@$(PY) scripts/check_types.py

tests:
	@$(PY) -m pytest -n 2 --dist worksteal --ignore tests/test_readme.py

# README commands and --help blocks are run and compared, so that they cannot rot.
docs:
	@$(PY) -m pytest tests/test_readme.py

# Writes what the commands print into the README; `tests/test_readme.py` compares.
readme:
	@$(PY) scripts/update_readme.py

# Made without index addresses, so that it works behind any mirror.
lock:
	.venv/bin/uv pip compile -q pyproject.toml --extra dev --python-version 3.11 \
	  --generate-hashes --no-emit-index-url --no-header -o requirements.lock

clean:
	rm -rf build dist .tinydeploy .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
