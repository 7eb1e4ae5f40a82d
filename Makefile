# Two commands do everything on a fresh machine with Python 3.11 or newer:
#   make figures    environment in .venv, then the demo study: data, training, measuring, claims, figures, report
#   make test       the same environment, then the fast tests
# More: make figures STUDY=standard CORES=8 | make lint | make test-all | make test-slurm | make clean
PYTHON ?= python3
CORES ?= $(shell nproc 2>/dev/null || echo 2)
STUDY ?= demo

VENV := .venv
BIN := $(VENV)/bin
SNAKEMAKE := $(BIN)/snakemake $(if $(filter demo,$(STUDY)),,--configfile workflow/studies/$(STUDY).yaml)

.PHONY: figures test test-all test-slurm lint docs bless install clean
.DELETE_ON_ERROR:

figures: install
	@echo "== geed: the $(STUDY) study on $(CORES) cores; each finished job prints a line, its log is in logs/$(STUDY)/"
	@$(SNAKEMAKE) --cores $(CORES)
	@$(BIN)/geed claims results/$(STUDY)
	@echo "page:    results/$(STUDY)/report.html"
	@echo "figures: figures/$(STUDY)/"

test: install
	@echo "== geed: the fast tests"
	@$(BIN)/python -m pytest

test-all: install
	@$(BIN)/python -m pytest -m "not slurm"

test-slurm: install
	@echo "== geed: studies on a SLURM of this one machine (root; Debian's or Ubuntu's packages)"
	@$(BIN)/python -m pytest -m slurm tests/slurm

lint: install
	@echo "== geed: lint"
	@$(BIN)/snakemake --lint
	@$(BIN)/snakefmt --check Snakefile workflow/rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

docs: install
	@$(BIN)/python docs/make.py

bless: install
	@$(BIN)/python docs/make.py --bless $(STUDY)

install: $(VENV)/installed

$(VENV)/installed: envs/requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "geed needs Python 3.11 or newer, found " + sys.version.split()[0] + "; set PYTHON=...")'
	@echo "== geed: installing the locked environment into $(VENV)/ (once; some minutes, 2 GB, more where PyTorch brings CUDA)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r envs/requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

clean:
	@rm -rf results/$(STUDY) figures/$(STUDY) logs/$(STUDY)
