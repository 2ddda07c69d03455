# make lab | bench | study | check | test | perf | faults | render | map | site: each sets the environment up by itself, in .venv, the first time.
#
#   make bench PROFILE=smoke                  a minute, to see it work
#   make bench ARMS=ladder SEEDS=3            the full comparison
#   make bench ARMS=ladder SEEDS=3 WHERE=local:2    two trainings at once, each a job of its own; WHERE=slurm on a cluster
#   make bench RANKS=2                        each model trained by two processes together
#   make bench DATA=tinystories               another text, or a path to a file or folder of UTF-8 text
#   make study NAME=facts PROFILE=smoke       when does an idea pay? A minute, to see it work; without PROFILE= the study
#   make study NAME=cache SEEDS=3             speed and bytes while decoding, and the loss at equal cache
#   make study NAME=muon                      tokens to equal loss; NAME=clip, balance and sparsity are studies too
#   make study NAME=sparsity PROFILE=tinystories DATA=FOLDER    the same on another text
#   make lab LAB_FLAGS="--no-browser"         words for JupyterLab
#   make check                                the quick half of the tests, a minute or so, for the loop while writing
#   make test TEST_FLAGS="-x -k router"       words for pytest
#   make test PYTHON=python3.12               the Python that .venv is made with

PYTHON ?= python3
PROFILE ?= auto
ARMS ?= default
SEEDS ?= 1
WHERE ?= here
RANKS ?= 1
# Some systems set NAME to that of the machine: only the command's own counts.
NAME = facts
LAB_FLAGS ?=
TEST_FLAGS ?=

BIN := .venv/bin
READY := .venv/.ready
READY_FOR_BROWSER := .venv/.ready-for-browser

# The value of a variable as one word for the shell, whatever is in it: quotes, dollars, new lines. The variables are
# not handed on to the commands beside that: make would expand them on the way.
define newline


endef
export newline
quoted = '$(subst $(newline),'"$$newline"',$(subst ','\'',$(value $(1))))'
# DATA has no default: without it a profile and a study have their own text. `unexport` would define it: it is asked before.
HAS_DATA := $(filter-out undefined,$(origin DATA))
data_flag = $(if $(HAS_DATA),--data=$(call quoted,DATA))
unexport PYTHON PROFILE ARMS SEEDS DATA WHERE RANKS NAME

.PHONY: help lab bench study check test perf faults render map site

help:
	@sed -n -e '/^#/!q' -e 's/^# \{0,1\}//p' Makefile

# Only this machine reaches the server, and only with the token in the address that it prints.
lab: $(READY)
	$(BIN)/python -m jupyterlab --ServerApp.ip=127.0.0.1 --notebook-dir=. --LabApp.default_url=/lab/tree/notebooks $(LAB_FLAGS)

bench: $(READY)
	$(BIN)/python -m lab_utils.bench --profile=$(call quoted,PROFILE) --arms=$(call quoted,ARMS) \
	  --seeds=$(call quoted,SEEDS) $(data_flag) --where=$(call quoted,WHERE) \
	  --ranks=$(call quoted,RANKS)

# Its trainings are jobs of this machine, one after another; WHERE=local:2 runs two at once. What was done stays done.
study: $(READY)
	$(BIN)/python -m lab_utils.study --name=$(call quoted,NAME) --profile=$(call quoted,PROFILE) \
	  --seeds=$(call quoted,SEEDS) $(data_flag) --where=$(call quoted,WHERE)

# What a change breaks most often, found in under four minutes on two cores: no browser, no notebooks, no test marked slow.
# The plug-in for notebooks takes two seconds to load in each process.
check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	$(BIN)/basedpyright
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -p no:nbval -n auto --max-worker-restart=0 -m "not slow" \
	  --ignore tests/e2e tests $(TEST_FLAGS)

# One pytest run for tests/ and the notebooks, so that one closing line counts them all. A file stays with one core:
# the cells of a notebook share a kernel. Files come in their order, notebooks last: else those with few long tests
# would be the last, and one core would wait for the other.
# A process that crashes is not replaced: pytest-xdist 3.8 would then wait at the end, and for ever (its issue 1378).
# tests/conftest.py sets the smoke profile that the notebooks read. tests/e2e opens notebooks in JupyterLab in a
# headless Chromium; without one these tests are skipped with a word (Debian and Ubuntu: apt install chromium).
test: $(READY_FOR_BROWSER)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --max-worker-restart=0 --dist loadfile \
	  --no-loadscope-reorder --nbval-lax --nbval-current-env --nbval-cell-timeout=120 tests notebooks $(TEST_FLAGS)

perf: $(READY)
	$(BIN)/python -m benchmarks.perf

# Kills, full disks, altered files, hostile notebooks: made on purpose, counted, and compared with what survived.
faults: $(READY)
	$(BIN)/python -m benchmarks.faults

# The only way to make the outputs that are committed with the notebooks: a run of minutes with the profile cpu. The
# stubs that readers get back are those of the notebooks.
render: $(READY)
	$(BIN)/python -m lab_utils.course.stubs --collect notebooks
	$(BIN)/python -m lab_utils.site.render notebooks/*.ipynb

# docs/map.md: one line per module, made from the docstrings.
map: $(READY)
	$(BIN)/python docs/make_map.py

# The notebooks with their committed outputs, and the reference of nanokimi, as pages that need no network: open
# out/site/index.html.
site: $(READY)
	$(BIN)/python -m lab_utils.site --out out/site

# A .venv that has no working pip (an interrupted try, a Python that was removed) is made again, and so is one that
# was copied or moved with the project: its programs would run the code at the old place. .ready holds the place. With
# the constraints, pip takes the build of torch that was tested; without them, the newest one.
ifneq ($(shell cat $(READY) 2>/dev/null),$(shell pwd -P))
.PHONY: $(READY)
endif

$(READY): pyproject.toml constraints.txt
	@$(call quoted,PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { printf "nanokimi needs Python 3.11 or newer; %s is not one: try make PYTHON=python3.12\n" \
	    $(call quoted,PYTHON) >&2; exit 1; }
	@$(call quoted,PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { printf "%s lacks venv: on Debian and Ubuntu, apt install python3-venv\n" $(call quoted,PYTHON) >&2; exit 1; }
	@made_for=$$(cat $(READY) 2>/dev/null); here=$$(pwd -P); \
	  test "$${made_for:-$$here}" = "$$here" && $(BIN)/python -m pip --version >/dev/null 2>&1 || \
	  $(call quoted,PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install -c constraints.txt -e '.[lab,test]'
	@pwd -P > $(READY)

$(READY_FOR_BROWSER): $(READY)
	$(BIN)/python -m pip install -c constraints.txt -e '.[e2e]'
	@touch $(READY_FOR_BROWSER)
