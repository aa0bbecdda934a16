# `make demo` and `make test` need Python 3.11 and make; everything else they install themselves.

PYTHON ?= python3.11
VENV ?= .venv
KIT ?= $(or $(EDGEAI_KIT),../shared/kit)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint results bench clean

demo: $(STAMP)
ifndef MODEL
	@echo "pass a checkpoint: make demo MODEL=path/to/best.pt"
	@echo "its photos come from EDGEAI_KIT, or from IMAGES=, ANNOTATIONS= and CALIBRATION="
	@exit 2
endif
	$(BIN)/edgeai run $(MODEL) --imgsz 256 --board stm32n6 --board stm32mp2 \
	  --calibration $(or $(CALIBRATION),$(KIT)/coco/calibration/images) \
	  --images $(or $(IMAGES),$(KIT)/coco/val/images) \
	  --annotations $(or $(ANNOTATIONS),$(KIT)/coco/val/instances.json)

test: $(STAMP)
	$(BIN)/python -m pytest

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

bench: $(STAMP)
	$(BIN)/python tests/bench/bench_quantize.py
	$(BIN)/python tests/bench/bench_postprocess.py

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all]'
	@touch $@

clean:
	rm -rf $(VENV) .edgeai
