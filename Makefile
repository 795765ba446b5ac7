# What CI runs is .ci/run; these are for the hand. ./run keeps the environment in .venv.
.PHONY: lint test lock

lint:
	./run setup tests
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

test:
	./run tests

# The dev lock is resolved first and bounds those after it, so that one version of each package serves all of them;
# only the lock of Spark 3.5 has versions of its own. Delete constraints-dev.txt and that one beforehand to take the
# newest versions of everything.
COMPILE = uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-annotate --custom-compile-command "make lock"

lock:
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	$(COMPILE) --extra dev -o constraints-dev.txt pyproject.toml
	$(COMPILE) --extra local -c constraints-dev.txt -o constraints.txt pyproject.toml
	$(COMPILE) --extra local --extra align -c constraints-dev.txt -o constraints-align.txt pyproject.toml
	printf '%s\n' pip setuptools hatchling editables | \
		$(COMPILE) -c constraints-dev.txt -o constraints-build.txt -
	$(COMPILE) --extra dev35 -c constraints-build.txt -o constraints-spark35.txt pyproject.toml
