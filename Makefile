# The commands of the project. Each makes what it needs: a virtual environment in .venv and the package in it.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# What is run again, with reasons to leave out the rest. As other processors: kernels and promises; of formulas test_lines.py alone,
# where vectors have another width. In plain Python: not what calls no kernel. In neither: what is marked `once` or `alone`, and
# PyTorch.
KERNEL_TESTS := tests/kernels tests/test_promises.py $(addprefix --ignore=tests/kernels/compiler/test_,derivative.py expression.py)
NO_KERNELS := tests/asv_benchmarks tests/checks tests/scripts
AGAIN := -m 'not slow and not once and not alone and not torch'
PYTEST := $(BIN)/python -m pytest -q --durations=10 --durations-min=1
ON_ANOTHER := $(PYTEST) $(AGAIN) $(KERNEL_TESTS)
GENERIC := NUMBA_CPU_NAME=generic NUMBA_CPU_FEATURES=+sse2,+cx16
HASWELL := NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=+sse2,+sse3,+ssse3,+sse4.1,+sse4.2,+popcnt,+avx,+avx2,+fma,+bmi,+bmi2,+lzcnt,+f16c,+movbe,+cx16

# Of the benchmarks: the name under which results of this machine are kept (the kind of its processor, where they are to be in the
# repository), benchmarks to take (a regular expression, by name and parameters; empty: all, of a history the usual ones), how many
# times as long is too slow; of a history how many commits, or which, from which one on, and how many processes of each.
MACHINE ?= local
BENCH ?=
FACTOR ?= 1.1
COMMITS ?= 15
SINCE ?=
ROUNDS ?= 2
BENCH_RUN := cd asv_benchmarks && ../$(BIN)/python -m
OF_BENCH = $(if $(BENCH),--bench '$(BENCH)')

# Two sets of extras are not to be installed into one environment at the same time.
.NOTPARALLEL:

.PHONY: help disc test test-torch golden test-slow test-processors lint format clean
.PHONY: bench-smoke bench bench-compare bench-history bench-report dashboard

help:  ## Say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */: /' | awk -F': ' '{printf "  make %-16s %s\n", $$1, $$2}'

disc: $(VENV)/.disc  ## Teach small networks which points lie in a disc; writes figures/
	@$(BIN)/python scripts/train_disc.py

test: $(VENV)/.test $(VENV)/.bench lint  ## Lint, types, imports, then tests and doctests, compiled, in plain Python, as other processors
	@echo "== machine code of both dtypes, by a process each"
	@$(BIN)/python -m fastmlp warmup --dtype float32 > /dev/null & $(BIN)/python -m fastmlp warmup --dtype float64 > /dev/null; wait
	@echo "== tests that want the cores for themselves"
	@$(PYTEST) -rs -m 'alone and not slow'
	@echo "== tests, compiled; beside them those of the package in plain Python, then doctests and benchmarks"
	@{ NUMBA_DISABLE_JIT=1 $(PYTEST) $(AGAIN) $(NO_KERNELS:%=--ignore=%) && \
	$(PYTEST) --doctest-modules --import-mode=prepend fastmlp && \
	$(MAKE) --no-print-directory bench-smoke; } > $(VENV)/plain.txt 2>&1 & plain=$$!; \
	$(PYTEST) -rs -m 'not slow and not alone'; compiled=$$?; \
	wait $$plain; plain=$$?; cat $(VENV)/plain.txt; [ $$compiled$$plain = 00 ]
	@[ "$$(uname -m)" != x86_64 ] || $(MAKE) --no-print-directory test-processors

test-torch: $(VENV)/.torch  ## Compare with PyTorch itself, which is installed; fails where it cannot be
	@echo "== comparison with PyTorch"
	@$(BIN)/python -c "import torch; print('PyTorch', torch.__version__)"
	@$(BIN)/python -m pytest -q -m torch tests/test_torch.py

golden: $(VENV)/.torch  ## Make the golden numbers that are missing, from PyTorch; NAME=<entry> anew
	@cd tests && ../$(BIN)/python -m golden.make $(NAME)

test-slow: $(VENV)/.test  ## The tests that take minutes
	@$(BIN)/python -m pytest -q -rs -s -m slow

test-processors: $(VENV)/.test  ## Kernels and promises as other x86-64 processors run them, two at a time
	@echo "== kernels, compiled for Haswell, then for any x86-64"
	@$(GENERIC) $(ON_ANOTHER) > $(VENV)/generic.txt 2>&1 & generic=$$!; \
	$(HASWELL) $(ON_ANOTHER); haswell=$$?; \
	wait $$generic; generic=$$?; cat $(VENV)/generic.txt; [ $$haswell$$generic = 00 ]

lint: $(VENV)/.test  ## Lint, type check, import contract
	@echo "== lint, types, imports"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(VENV)/.test  ## Rewrite the sources in the project's format
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench-smoke: $(VENV)/.bench  ## Run every benchmark once, in seconds; BENCH=<regex> some
	@$(BENCH_RUN) asv check --python=same
	@$(BENCH_RUN) commands.smoke '$(BENCH)'

bench: $(VENV)/.bench  ## Measure this commit for the dashboard, in minutes; BENCH=<regex> some
	@$(BENCH_RUN) commands.run '$(MACHINE)' $(OF_BENCH)

bench-compare: $(VENV)/.bench  ## Measure BASE=<rev> and this commit in turns; fails where something is slower than FACTOR=1.1
	@test -n '$(BASE)' || { echo "make bench-compare BASE=<revision> [HEAD=<revision>] [BENCH=<regex>] [FACTOR=1.1]"; exit 2; }
	@$(BENCH_RUN) commands.compare '$(BASE)' $(HEAD) --factor '$(FACTOR)' $(OF_BENCH)

bench-history: $(VENV)/.bench  ## Measure COMMITS=15 commits, or those named, in turns, for the dashboard; SINCE=<rev> from there
	@$(BENCH_RUN) commands.history '$(MACHINE)' $(COMMITS) $(if $(SINCE),--since '$(SINCE)') --rounds '$(ROUNDS)' $(OF_BENCH)

bench-report: $(VENV)/.bench  ## Samples and GFLOP per second of every commit measured; writes asv_benchmarks/.asv/report/
	@$(BENCH_RUN) commands.report '$(MACHINE)'

dashboard: $(VENV)/.bench  ## Publish what has been measured to asv_benchmarks/.asv/html
	@$(BENCH_RUN) commands.publish

clean:  ## Remove the virtual environment and what the tools left, but no measurement
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	cd asv_benchmarks/.asv 2>/dev/null && rm -rf compare env html kernels vendor || true

# One stamp file for each set of extras: installed again only when pyproject.toml changes.
$(VENV)/bin/python:
	@echo "== making $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.%: pyproject.toml | $(VENV)/bin/python
	@echo "== installing fastmlp[$*] into $(VENV)"
	@$(PIP) --editable ".[$*]"
	@touch $@

# PyTorch's wheels for Linux may bring gigabytes of CUDA; TORCH_INDEX=<address> names an index that has wheels without.
$(VENV)/.torch: PIP += $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
