# The commands of this project. Each creates the environment first if need be.
PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/installed
RUN := TF_CPP_MIN_LOG_LEVEL=3 $(VENV)/bin/python

RUN_JAX := KERAS_BACKEND=jax $(VENV)-jax/bin/python
RUN_TORCH := KERAS_BACKEND=torch $(VENV)-torch/bin/python
# A module on each core: most of the time is Python's, which uses one. The order is that
# of tests/conftest.py, so that no core waits long for the other.
PYTEST := -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

.PHONY: demo check smoke watch test test-jax test-torch test-parity test-lowest browser lint types clean

demo: $(INSTALLED)  ## Train on 20 labeled digits, print the table, export, reload
	$(RUN) examples/digits.py --output demo_output

check: lint types smoke  ## Style, types and the main job, in under a minute

smoke: $(INSTALLED)  ## From a folder of images to a served model
	$(RUN) -m pytest -q -m smoke tests/test_smoke.py

test: $(INSTALLED)  ## Run the tests, those in a browser where there is a Chromium
	$(RUN) $(PYTEST) -m "not jax and not parity"

# Where backends differ; what is in the other rooms computes with NumPy, or as these do.
BACKEND_TESTS := $(addprefix tests/,augmentation backbones backend baselines serving storage \
	targets training test_classifier.py test_fixmatch.py test_kdfixmatch.py test_losses.py \
	benchmarks/test_benchmark_gpu.py cli/test_cli.py::test_run_folder_explains_itself)

# What is left out needs TensorFlow itself, which is not installed there. JAX compiles
# every step, and reads from the folder what an earlier test compiled.
test-jax: $(VENV)-jax/installed  ## Run the tests on JAX, without TensorFlow
	JAX_COMPILATION_CACHE_DIR=$(abspath $(VENV)-jax/compiled) \
	JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
	$(RUN_JAX) $(PYTEST) -m "not tensorflow and not keras_cv and not parity" $(BACKEND_TESTS)

# One thread in each of the processes, which would wait for one another otherwise.
test-torch: $(VENV)-torch/installed  ## Run the tests on PyTorch, without TensorFlow
	OMP_NUM_THREADS=1 $(RUN_TORCH) $(PYTEST) \
		-m "not tensorflow and not keras_cv and not jax and not parity" $(BACKEND_TESTS)

test-parity: $(INSTALLED) $(VENV)-jax/installed $(VENV)-torch/installed  ## Compare them
	KDFIXMATCH_TENSORFLOW_PYTHON=$(abspath $(VENV)/bin/python) \
	KDFIXMATCH_JAX_PYTHON=$(abspath $(VENV)-jax/bin/python) \
	KDFIXMATCH_TORCH_PYTHON=$(abspath $(VENV)-torch/bin/python) \
	JAX_COMPILATION_CACHE_DIR=$(abspath $(VENV)-jax/compiled) \
	JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 \
	$(RUN) -m pytest -m parity tests/backend/test_parity.py

watch: $(INSTALLED)  ## Train a cheap published cell of the benchmark again
	$(RUN) benchmarks/accuracy.py --watch benchmarks/results/digits

# What these versions warn of has been mended in later ones.
test-lowest: $(VENV)-lowest/installed  ## The main job with the lowest versions there may be
	TF_CPP_MIN_LOG_LEVEL=3 $(VENV)-lowest/bin/python -m pytest -q -m smoke \
		--override-ini filterwarnings=default tests/test_smoke.py

browser:  ## Install Debian's Chromium, for the tests of pages; needs root
	command -v chromium || \
		(apt-get update && apt-get install -y --no-install-recommends chromium)

lint: $(INSTALLED)  ## Check style
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(INSTALLED)  ## Check types
	$(VENV)/bin/mypy

clean:  ## Remove the environment and what the demo wrote
	rm -rf $(VENV) $(VENV)-jax $(VENV)-torch $(VENV)-lowest demo_output

# A release of which the index has a build without CUDA, of 200 MB in place of 3 GB.
$(VENV)-torch/installed: BACKEND := "torch==2.13.0" --editable ".[torch,pretrained,dev]"
$(VENV)-jax/installed: BACKEND := --editable ".[jax,pretrained,dev]"
# KerasHub and what it needs but for TensorFlow, for which it asks.
$(VENV)-torch/installed $(VENV)-jax/installed: HUB := keras-hub
$(INSTALLED): BACKEND := --editable ".[all,hub,solar-cells,dev]"

$(VENV)-lowest/installed: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet uv
	$(@D)/bin/uv pip install --quiet --python $(@D)/bin/python \
		--resolution lowest-direct --editable ".[tensorflow]" "pytest>=8.2"
	touch $@

$(INSTALLED) $(VENV)-jax/installed $(VENV)-torch/installed: pyproject.toml
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --upgrade pip
	$(@D)/bin/python -m pip install --quiet $(BACKEND)
	$(if $(HUB),$(@D)/bin/python -m pip install --quiet --no-deps $(HUB))
	$(if $(HUB),$(@D)/bin/python -m pip install --quiet absl-py kagglehub regex sentencepiece tokenizers)
	touch $@
