# `make demo` and `make test` need Python 3.11 and make; everything else they install themselves.

PYTHON ?= python3.11
VENV ?= .venv
KIT ?= $(or $(EDGEAI_KIT),../shared/kit)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint heads results drops chance methods quantizers kernels bench firmware clean emulated-mp2

# Without MODEL the bundled network on pictures made on the spot: no network, no data needed.
demo: $(STAMP)
ifdef MODEL
	$(BIN)/edgeai run $(MODEL) --imgsz 256 --board stm32n6 --board stm32mp2 \
	  --calibration $(or $(CALIBRATION),$(KIT)/coco/calibration/images) \
	  --images $(or $(IMAGES),$(KIT)/coco/val/images) \
	  --annotations $(or $(ANNOTATIONS),$(KIT)/coco/val/instances.json)
else
	$(BIN)/edgeai synth .edgeai/demo --train 0 --val 100 --calibration 64 --seed 1
	$(BIN)/edgeai run yolov8n-seg-synthetic --imgsz 256 --board stm32n6 --board stm32mp2 \
	  --calibration .edgeai/demo/calibration/images \
	  --images .edgeai/demo/val/images --annotations .edgeai/demo/val/instances.json
endif

# Workers: as many as there are cores and memory for (tests/conftest.py); whole files stay together and share what they made.
test: $(STAMP)
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --durations 10

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

# The table of the README: fp32, our six int8 files and ST's own, on the kit's images, under one protocol.
results: $(STAMP)
	-$(BIN)/edgeai run $(KIT)/weights/yolov8n-seg.pt --all --imgsz 256 --board stm32n6 \
	  --calibration $(KIT)/coco/calibration/images \
	  --images $(KIT)/coco/val/images --annotations $(KIT)/coco/val/instances.json \
	  --compare $(KIT)/tflite/yolov8n_256_quant_pc_ii_seg_coco-st.tflite \
	  --out runs/results --markdown runs/results/table.md
	$(BIN)/python docs/splice.py README.md results runs/results/table.md
	$(BIN)/edgeai inspect $(KIT)/tflite/yolov8n_256_quant_pc_ii_seg_coco-st.tflite > runs/results/inspect.txt
	(echo '```'; head -11 runs/results/inspect.txt; echo '```') > runs/results/inspect.md
	$(BIN)/python docs/splice.py README.md inspect runs/results/inspect.md
	$(BIN)/edgeai footprint runs/results/yolov8n-seg_256_raw_per-channel.tflite --board stm32n6 > runs/results/footprint.txt
	(echo '```'; sed '/^live at the peak/,$$d' runs/results/footprint.txt; echo '```') > runs/results/footprint.md
	$(BIN)/python docs/splice.py README.md footprint runs/results/footprint.md
	$(BIN)/edgeai validate-estimators --published $(KIT)/published --compact > runs/results/errors.txt
	(echo '```'; cat runs/results/errors.txt; echo '```') > runs/results/errors.md
	$(BIN)/python docs/splice.py README.md errors runs/results/errors.md
	$(BIN)/edgeai validate-estimators --published $(KIT)/published > runs/results/all_errors.txt
	(echo '```'; cat runs/results/all_errors.txt; echo '```') > runs/results/all_errors.md
	$(BIN)/python docs/splice.py docs/estimators.md errors runs/results/all_errors.md

# What the six int8 files lose at two input sizes (half an hour; with --weights learned an hour).
drops: $(STAMP)
	$(BIN)/python tests/bench/drops.py --kit $(KIT) --layout raw --out runs/drops/raw
	$(BIN)/python docs/splice.py docs/accuracy.md drops-raw runs/drops/raw/drops.md
	$(BIN)/python tests/bench/drops.py --kit $(KIT) --layout split concat --out runs/drops/decoded
	$(BIN)/python docs/splice.py docs/accuracy.md drops-decoded runs/drops/decoded/drops.md

# What random errors of some sizes lose on the same images (a quarter of an hour).
chance: $(STAMP)
	$(BIN)/python tests/bench/chance.py --kit $(KIT) --out runs/chance
	$(BIN)/python docs/splice.py docs/accuracy.md chance runs/chance/chance.md

# What every choice of a recipe is worth, and what every way to export costs (an hour).
methods: $(STAMP)
	$(BIN)/python tests/bench/methods.py methods --kit $(KIT) --out runs/methods
	$(BIN)/python docs/splice.py docs/accuracy.md methods runs/methods/methods.md
	$(BIN)/python tests/bench/methods.py exports --kit $(KIT) --out runs/methods
	$(BIN)/python docs/splice.py docs/accuracy.md exports runs/methods/exports.md

# Our int8 files beside those of other quantisers; for docs/accuracy.md and the README. ai-edge-quantizer is installed
# by none of the extras: AEQ_PYTHON names the Python of an environment that has it; without, the table says so.
QUANTIZERS = $(BIN)/python tests/bench/quantizers.py --kit $(KIT) $(if $(AEQ_PYTHON),--aeq-python $(AEQ_PYTHON))
quantizers: $(STAMP)
	$(QUANTIZERS) --layout raw --out runs/quantizers/raw
	$(BIN)/python docs/splice.py docs/accuracy.md quantizers runs/quantizers/raw/quantizers.md
	$(QUANTIZERS) --layout concat --granularity per-tensor --peer tensorflow --peer ai-edge-quantizer \
	  --peer onnxruntime --out runs/quantizers/concat
	$(BIN)/python docs/splice.py docs/accuracy.md quantizers-concat runs/quantizers/concat/quantizers.md
	(cat runs/quantizers/raw/summary.md; tail -n +3 runs/quantizers/concat/summary.md) > runs/quantizers/summary.md
	$(BIN)/python docs/splice.py README.md peers runs/quantizers/summary.md

# Every kernel set on every int8 operator against float arithmetic: what edgeai judges by (five minutes).
kernels: $(STAMP)
	$(BIN)/python tests/bench/kernels.py --out runs/kernels
	cp runs/kernels/kernels.json edgeai/kernels/data/kernels.json
	$(BIN)/python docs/splice.py docs/kernels.md kernels runs/kernels/kernels.md

# One known object in files of every head and format: docs/heads.md.
heads: $(STAMP)
	mkdir -p runs
	$(BIN)/python tests/recognise/matrix.py --out runs/heads.md
	$(BIN)/python docs/splice.py docs/heads.md heads runs/heads.md

# Kernel and busybox of the emulated MP2 board, from Debian's arm64 packages (22 MB) into the user's cache.
emulated-mp2:
	firmware_stubs/mp2/fetch.sh

bench: $(STAMP)
	$(BIN)/python tests/bench/bench_quantize.py
	$(BIN)/python tests/bench/bench_postprocess.py
	$(BIN)/python tests/bench/bench_planner.py

# The bench firmware of the emulated board, from its sources; needs arm-none-eabi-gcc and newlib.
firmware:
	$(MAKE) -C firmware_stubs prebuilt

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	@touch $@

clean:
	rm -rf $(VENV) .edgeai
