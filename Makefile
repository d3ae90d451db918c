# Targets for readers and developers; `make` alone lists them.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
NOTEBOOKS := $(wildcard notebooks/*.ipynb)
BOOK := _config.yml _toc.yml $(shell find book -type f -not -name '*.pyc') data/hypotheses.json data/seeds.json $(wildcard data/results/*.json) \
	$(wildcard notebooks/frames/*) \
	lib/bookkit/claims.py lib/bookkit/verdicts.py lib/bookkit/survey.py lib/bookkit/paths.py \
	$(shell find lib/diffot -type f -name '*.py')

.PHONY: help book pdf test run sweep serve train table bench lint nightly clean
.DELETE_ON_ERROR:

help:
	@echo "make book                 set up and build the book into _build/html"
	@echo "make pdf                  build the book and print it as one PDF, _build/book.pdf"
	@echo "make test                 set up and run everything that CI runs"
	@echo "make run [ALL=1]          execute notebooks in place, the stale ones or all"
	@echo "make sweep                execute all notebooks at ten seeds in profile fast and keep which"
	@echo "                          claims hold; goes on where it was interrupted (an hour)"
	@echo "make nightly              what a scheduled job runs: claims of the cheap chapters at three seeds"
	@echo "                          and in profile full, and builds that are killed (half an hour)"
	@echo "make serve                build the book and serve it on localhost:8000"
	@echo "make train MODEL=NAME     train a model [OVERWRITE=1 to replace its checkpoint,"
	@echo "                          RESUME=1 to continue an interrupted training,"
	@echo "                          PRECISION=float32 or bfloat16 to force it]"
	@echo "make table                renew the table of modules in CONTRIBUTING"
	@echo "make bench                compare with other libraries (an hour and a half); goes on"
	@echo "                          where it was interrupted [TOPICS=\"errors ...\" or AGAIN=1]"
	@echo "make lint                 check the style of code and notebooks, what imports what, and types"
	@echo "make clean                remove what was built; the virtual environment stays"

.venv/.installed: requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; try: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv || \
		{ echo "no virtual environment could be made; on Debian: apt install python3-venv"; exit 1; }
	$(BIN)/pip install --quiet -r requirements.txt -c constraints.txt
	$(BIN)/pip install --quiet --no-build-isolation --no-deps -e .
	@touch $@

# Always from the start: what a killed build leaves looks finished to the next one.
_build/html/.complete: .venv/.installed $(BOOK) $(NOTEBOOKS)
	@rm -f $@
	@rm -rf _build
	$(BIN)/jupyter-book build . -W --keep-going -n
	$(BIN)/python tests/check_html.py _build/html
	@touch $@

book: _build/html/.complete
	@echo "the book: $(CURDIR)/_build/html/index.html"

_build/book.pdf: _build/html/.complete lib/bookkit/pdf.py
	$(BIN)/python -m bookkit pdf

pdf: _build/book.pdf
	@echo "the book on paper: $(CURDIR)/_build/book.pdf"

test: .venv/.installed
	$(BIN)/python tests/run_all.py

run: .venv/.installed
	$(BIN)/python -m bookkit run $(if $(ALL),--all)

sweep: .venv/.installed
	OMP_NUM_THREADS=1 nice -n 10 $(BIN)/python -m bookkit sweep

nightly: .venv/.installed
	nice -n 10 $(BIN)/python tests/nightly.py

serve: book
	$(BIN)/python -m http.server --bind localhost --directory _build/html 8000

train: .venv/.installed
	@test -n "$(MODEL)" || { echo "say which: make train MODEL=NAME"; $(BIN)/python -m diffot info; exit 1; }
	$(BIN)/python -m diffot train $(MODEL) $(if $(OVERWRITE),--overwrite) $(if $(RESUME),--resume) \
		$(if $(PRECISION),--precision $(PRECISION))

table: .venv/.installed
	$(BIN)/python -m bookkit table

# The peers beside everything in .venv, without what they would pull in.
.venv-bench/.installed: .venv/.installed benchmarks/requirements.txt
	$(BIN)/python -m venv .venv-bench
	@here="$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"; \
		there="$$(.venv-bench/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"; \
		echo "import site; site.addsitedir('$$here')" > "$$there/main.pth"
	.venv-bench/bin/pip install --quiet --no-deps -r benchmarks/requirements.txt
	@touch $@

bench: .venv-bench/.installed
	.venv-bench/bin/python -m benchmarks $(TOPICS) $(if $(AGAIN),--again)

lint: .venv/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

clean:
	rm -rf _build
