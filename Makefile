PYTHON ?= python3
VENV_PYTHON = .venv/bin/python
COLAB_PYTHON ?= 3.13
OLDEST_PYTHON ?= 3.10
# Two files at a time, each of them whole and in order, in the order of tests/conftest.py: the long ones first.
TWO_AT_ONCE = -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup lab test browser test-colab test-oldest other-machines notebooks reading new-lesson editions slides check-slides site bench gpu-table figures links format requirements clean

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s%s\n", $$1, $$2 }' Makefile

setup:  ## make .venv ready (the other targets do it when needed; PYTHON=python3.12 names another Python)
	@command -v $(PYTHON) >/dev/null || { echo "setup: there is no $(PYTHON) here: install Python 3.10 or newer."; exit 1; }
	@$(PYTHON) tools/setup.py

lab: setup  ## open the lessons in JupyterLab (LAB_OPTIONS="--port=9000" passes options on)
	@$(VENV_PYTHON) tools/lab.py $(LAB_OPTIONS)

test: setup  ## run the tests and every lesson, and compare what is the same on all machines with the committed outputs
	$(VENV_PYTHON) -m pytest $(TWO_AT_ONCE) --durations=15 tests $(wildcard notebooks)

browser: setup  ## run every lesson in a browser, training in full; what it showed goes into build/browser/
	BROWSER_LESSONS=all $(VENV_PYTHON) -m pytest --durations=15 tests/test_browser.py

test-colab: setup  ## run every lesson with the older versions that Colab has (COLAB_PYTHON names its Python; 6 GB)
	.venv/bin/uv venv --quiet --allow-existing --python $(COLAB_PYTHON) .venv-colab
	.venv/bin/uv pip install --quiet --python .venv-colab -r tools/colab.txt -e . pytest pytest-xdist nbval
	.venv-colab/bin/python -m pytest $(TWO_AT_ONCE) --nbval-lax --durations=15 tests/test_launch.py $(wildcard notebooks)

test-oldest: setup  ## run every lesson and test with the oldest versions that pyproject.toml allows (6 GB)
	.venv/bin/uv venv --quiet --allow-existing --python $(OLDEST_PYTHON) .venv-oldest
	.venv/bin/uv pip install --quiet --python .venv-oldest --resolution lowest-direct -e '.[dev]'
	.venv-oldest/bin/python -m pytest $(TWO_AT_ONCE) --nbval-lax --durations=15 tests $(wildcard notebooks)

other-machines: setup  ## run every lesson as other machines would round it (ONLY="02_se 04_eca"; SEEDS=20 disturbed runs each)
	@SEEDS=$(SEEDS) $(VENV_PYTHON) tools/other_machines.py $(ONLY)

notebooks: setup  ## execute the lessons anew and write their outputs (ONLY="02_se 04_eca": just these)
	@$(VENV_PYTHON) tools/notebooks.py $(ONLY)

reading: setup  ## say how long each lesson takes to read, and which words to avoid it uses
	@$(VENV_PYTHON) tools/reading.py

new-lesson: setup  ## begin a lesson that already runs (NAME=14_simam TITLE="SimAM: …")
	@$(VENV_PYTHON) tools/new_lesson.py "$$NAME" "$$TITLE"

editions: setup  ## write the lessons for students (no solutions) and instructors (answers open) into dist/
	@$(VENV_PYTHON) tools/editions.py

slides: setup  ## write a deck of slides per lesson into dist/slides, with speaker notes (needs npm the first time)
	@$(VENV_PYTHON) tools/slides.py

check-slides: setup  ## see in a browser that no slide of any deck runs over its edge
	SLIDES=all $(VENV_PYTHON) -m pytest tests/test_slides.py

site: setup  ## build the lessons, a gallery, the package's reference and the slides as a site (needs npm the first time)
	@$(VENV_PYTHON) tools/website.py

# Without these two settings the C library hands memory back after every step, and page faults are what is measured.
bench: setup  ## time the attention modules beside timm's, and the input path beside torchvision's
	@$(VENV_PYTHON) tools/bench_input.py
	@MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=4294967296 $(VENV_PYTHON) tools/bench_attention.py

gpu-table: setup  ## train VGG16-BN with each mechanism on 100 classes, five seeds, on a GPU (TABLE_OPTIONS="--minutes 9")
	@$(VENV_PYTHON) tools/gpu_table.py $(TABLE_OPTIONS)

figures: setup  ## draw the images of README.md
	@$(VENV_PYTHON) docs/figures.py

links: setup  ## write the public address into badges and set-up cells (REPOSITORY=owner/name changes it)
	@$(VENV_PYTHON) tools/links.py $(REPOSITORY)

format: setup  ## format the code and mend what ruff can mend
	$(VENV_PYTHON) -m ruff format attn_lessons tests tools
	$(VENV_PYTHON) -m ruff check --fix attn_lessons tests tools

requirements: setup  ## pin anew what pyproject.toml asks for (UPGRADE=1 takes the newest versions)
	.venv/bin/uv pip compile --quiet --universal --python-version 3.10 pyproject.toml --extra dev -o requirements.txt \
		--no-header --no-annotate --no-emit-index-url $(if $(UPGRADE),--upgrade)

clean:  ## remove .venv and what the tools leave behind; the lessons and data/ stay
	@$(PYTHON) tools/setup.py --remove
	rm -rf .venv-colab .venv-oldest .venv.lock .pytest_cache .ruff_cache .hypothesis build dist *.egg-info notebooks/.ipynb_checkpoints
	find attn_lessons tests tools -name __pycache__ -type d -prune -exec rm -rf {} +
