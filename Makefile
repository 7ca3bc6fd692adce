PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
DEMO := .venv/.installed-demo
export TOKENIZERS_PARALLELISM := false

.PHONY: help install demo model test test-fast check rows examples figures format docs bench experiment extensions clean
SEEDS ?= 1

help:
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

install: $(STAMP)  ## make .venv with every extra

# the constraints pin torch: an open range would let pip choose another build of it
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --constraint constraints.txt --editable '.[all]'
	@touch $@

# the demo needs neither the test tools nor the docs
$(DEMO): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --constraint constraints.txt --editable .
	@touch $@

demo: $(DEMO)  ## environment, model, and the main job on the built-in task, a few minutes
	$(BIN)/hlvbench fetch smollm2
	$(BIN)/hlvbench demo

model: install  ## the embedded default model, into the cache
	$(BIN)/hlvbench fetch smollm2

test: model  ## all tests, two at a time
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile $(ARGS)

test-fast: install  ## the tests that need no model, under two minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses 2 --dist loadfile -m 'not slow' $(ARGS)

check: install  ## lint, format, types, architecture, leaderboard
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py
	$(BIN)/hlvbench leaderboard --check

rows: install  ## the leaderboard's first rows: run, submit, verify what is missing; needs HLVBENCH_DATA
	$(BIN)/python benchmarks/rows.py $(ARGS)

examples: install  ## tasks/convarg/examples.json, what the leaderboard shows of humans; needs HLVBENCH_DATA
	$(BIN)/python -c "from hlvbench.leaderboard.task_card import write_examples; write_examples()"

figures:  ## the picture of the leaderboard in the README; needs chromium
	chromium --headless --no-sandbox --hide-scrollbars --window-size=1280,860 --screenshot=docs/leaderboard.png file://$(CURDIR)/leaderboard/index.html

format: install  ## format the code with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: install  ## the docs site in site/, any warning an error
	$(BIN)/python -m mkdocs build --strict

bench: install  ## speed against other programs; needs HLVBENCH_DATA
	$(BIN)/python benchmarks/help_time.py
	$(BIN)/python benchmarks/generation_loop.py --limit 8
	$(BIN)/python benchmarks/answers.py
	$(BIN)/python benchmarks/scorecard.py
	$(BIN)/python benchmarks/adapters_vs_lm_eval.py --limit 8 --max-new-tokens 64
	$(BIN)/python benchmarks/training.py

experiment: install  ## prompting, sft and capo on HLVBENCH_TEST_MODEL, both datasets; SEEDS=3 for the committed table
	$(BIN)/python experiments/imitation.py --seeds $(SEEDS)

extensions: experiment  ## fewer items, rejected texts of nearest items, more annotators
	$(BIN)/python experiments/extensions.py --seeds $(SEEDS)

clean:  ## remove what the targets above made
	rm -rf .venv build dist site .mypy_cache .pytest_cache .ruff_cache .hypothesis
