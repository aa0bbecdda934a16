"""The loop: it learns, it resumes to the same bytes, it starts from checkpoints, every head takes a step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from edgeai.artifacts import from_json
from edgeai.errors import InputError
from edgeai.models import build, load_model
from edgeai.models.weights import save_weights
from edgeai.training.carry import read_learned
from edgeai.training.loop import Silent
from edgeai.training.prepare import folded_norms, restore_norms, transfer
from edgeai.training.record import EpochRecord, TrainingRecord, record_paths
from edgeai.training.run import Inputs, train
from edgeai.training.settings import NO_AUGMENTATION, Augmentation, TrainSettings
from edgeai.training.state import state_path

QUICK = TrainSettings(imgsz=64, epochs=3, batch=4, lr=1e-3, warmup_epochs=0.0)
PLAIN = replace(QUICK, augmentation=NO_AUGMENTATION)


class KilledError(Exception):
    pass


class KillAfter(Silent):
    """Ends the process's run after an epoch, as a power cut between two epochs does."""

    def __init__(self, epoch: int) -> None:
        self.last = epoch

    def done(self, record: EpochRecord, seconds: float) -> None:
        if record.epoch == self.last:
            raise KilledError


def read_record(out: Path) -> TrainingRecord:
    return from_json(TrainingRecord, record_paths(out)[0].read_text(), out.name)


def test_a_few_images_are_learned(shapes: Path, tmp_path: Path) -> None:
    settings = replace(PLAIN, imgsz=96, epochs=12, batch=8, lr=4e-3)
    trained = train("yolov8n-seg", Inputs(((shapes, None),)), settings, tmp_path / "m.safetensors")
    assert trained is not None
    totals = [entry.box + entry.seg + entry.cls + entry.dfl for entry in trained.record.epochs]
    assert totals[-1] < totals[0] / 2, totals


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_killed_run_resumes_to_the_same_bytes(shapes: Path, tmp_path: Path, optimizer: str) -> None:
    inputs = Inputs(((shapes, None),), val_data=shapes)
    settings = replace(QUICK, optimizer=optimizer, accumulate=2, threads=1, val_every=2)  # type: ignore[arg-type]
    whole, parts = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    train("yolov8n-seg", inputs, settings, whole)
    with pytest.raises(KilledError):
        train("yolov8n-seg", inputs, settings, parts, listener=KillAfter(1))
    assert state_path(parts).exists()
    train("yolov8n-seg", inputs, settings, parts, resume=True)
    assert whole.read_bytes() == parts.read_bytes()
    assert read_record(whole).epochs == read_record(parts).epochs
    assert not state_path(parts).exists()


def test_a_state_of_another_run_is_refused(shapes: Path, tmp_path: Path) -> None:
    out, inputs = tmp_path / "m.safetensors", Inputs(((shapes, None),))
    with pytest.raises(KilledError):
        train("yolov8n-seg", inputs, PLAIN, out, listener=KillAfter(1))
    with pytest.raises(InputError, match="other settings"):
        train("yolov8n-seg", inputs, replace(PLAIN, lr=0.5), out, resume=True)
    state_path(out).write_bytes(b"not a state")
    with pytest.raises(InputError, match="not the state"):
        train("yolov8n-seg", inputs, PLAIN, out, resume=True)


def test_record_csv_and_weights_tell_the_same(shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.safetensors"
    inputs = Inputs(((shapes, None),), val_data=shapes, licence="Apache-2.0")
    train("yolov8n-seg", inputs, replace(PLAIN, epochs=2, val_every=2), out)
    network, spec = load_model(out)
    record = read_record(out)
    assert spec == record.spec
    assert (spec.names, spec.imgsz, spec.licence) == (("square", "disc"), 64, "Apache-2.0")
    assert record.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert not record.epochs[0].metrics
    assert record.epochs[1].metric("mask_ap50") is not None
    lines = record_paths(out)[1].read_text().splitlines()
    assert lines[0].startswith("epoch,lr,box,seg,cls,dfl,box_ap")
    assert len(lines) == 3


def test_early_stopping_keeps_the_best(shapes: Path, tmp_path: Path) -> None:
    inputs = Inputs(((shapes, None),), val_data=shapes)
    settings = replace(PLAIN, epochs=6, patience=1, lr=1e-9)  # nothing gets better
    trained = train("yolov8n-seg", inputs, settings, tmp_path / "m.safetensors")
    assert trained is not None
    assert trained.record.stopped_early
    assert trained.record.best_epoch == 1
    assert len(trained.record.epochs) == 2


def test_fine_tuning_keeps_what_fits_and_freezes(shapes: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, spec = build("yolov8n-seg", nc=5)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr]
    checkpoint = tmp_path / "start.safetensors"
    save_weights(network.state_dict(), spec, checkpoint)
    out = tmp_path / "tuned.safetensors"
    train(str(checkpoint), Inputs(((shapes, None),)), replace(PLAIN, epochs=1, freeze=10), out)
    before, (tuned, tuned_spec) = network.state_dict(), load_model(out)
    assert tuned_spec.names == ("square", "disc")
    after = tuned.state_dict()
    frozen = [name for name in after if int(name.split(".")[1]) < 10 and "num_batches" not in name]
    assert frozen
    assert all(torch.equal(before[name], after[name]) for name in frozen)
    assert not torch.equal(before["model.15.cv1.conv.weight"], after["model.15.cv1.conv.weight"])
    with pytest.raises(InputError, match="nothing to train"):
        train(str(checkpoint), Inputs(((shapes, None),)), replace(PLAIN, freeze=99), out)


def test_a_detector_takes_steps_with_boxes_alone(shapes: Path, tmp_path: Path) -> None:
    body = json.loads((shapes / "instances.json").read_text())
    for entry in body["annotations"]:
        del entry["segmentation"]
    boxes = tmp_path / "boxes.json"
    boxes.write_text(json.dumps(body))
    inputs = Inputs(((boxes, shapes / "images"),), val_data=boxes, val_images=shapes / "images")
    settings = replace(QUICK, epochs=2, val_every=2)
    trained = train("yolov8n", inputs, settings, tmp_path / "d.safetensors")
    assert trained is not None
    assert trained.record.criterion == "box_ap"
    assert trained.record.epochs[-1].seg == 0
    with pytest.raises(InputError, match="without masks"):
        train("yolov8n-seg", inputs, QUICK, tmp_path / "s.safetensors")


def test_a_yolov5u_takes_a_step_and_an_anchor_head_does_not(shapes: Path, tmp_path: Path) -> None:
    inputs, settings = Inputs(((shapes, None),)), replace(QUICK, epochs=1)
    assert train("yolov5nu", inputs, settings, tmp_path / "u.safetensors") is not None
    with pytest.raises(InputError, match="anchor-based"):
        train("yolov5n", inputs, settings, tmp_path / "a.safetensors")


def test_a_classifier_learns_colours(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for place, name in enumerate(("blue", "green", "red")):
        folder = tmp_path / "set" / name
        folder.mkdir(parents=True)
        for number in range(4):
            pixels = rng.integers(0, 60, (48, 64, 3), dtype=np.uint8)
            pixels[..., place] += 150
            cv2.imwrite(str(folder / f"{number}.png"), pixels)
    inputs = Inputs(((tmp_path / "set", None),), val_data=tmp_path / "set")
    settings = replace(QUICK, epochs=8, lr=2e-3, val_every=8, augmentation=Augmentation(hue=0.0))
    trained = train("yolov8n-cls", inputs, settings, tmp_path / "c.safetensors")
    assert trained is not None
    assert trained.record.epochs[-1].cls < trained.record.epochs[0].cls
    assert trained.record.epochs[-1].metric("top1") is not None


@pytest.mark.parametrize("mode", ["per-channel", "per-tensor"])
def test_quantisation_aware_training_leaves_weights_on_their_grid(shapes: Path, tmp_path: Path, mode: str) -> None:
    torch.manual_seed(0)
    network, spec = build("yolov8n-seg", names=("square", "disc"))
    start = tmp_path / "start.safetensors"
    save_weights(network.state_dict(), spec, start)
    out = tmp_path / "qat.safetensors"
    train(str(start), Inputs(((shapes, None),)), replace(PLAIN, epochs=1, qat=mode), out)  # type: ignore[arg-type]
    tuned, _ = load_model(out)
    layer = tuned.get_submodule("model.4.cv1")
    gain = layer.bn.weight / (layer.bn.running_var + layer.bn.eps).sqrt()
    folded = (layer.conv.weight * gain[:, None, None, None]).detach()
    largest = folded.abs().amax((1, 2, 3), keepdim=True) if mode == "per-channel" else folded.abs().amax()
    steps = folded / largest * 127
    assert float((steps - steps.round()).abs().max()) < 1e-3
    learned = read_learned(out)
    assert learned is not None
    names = {entry.module for entry in learned.ranges}
    assert {"model.0", "model.0.bn", "model.2.join", "model.11", "model.22.cv2.0.2", "model.22.proto.upsample"} <= names
    assert all(entry.minimum <= 0 <= entry.maximum for entry in learned.ranges)
    with pytest.raises(InputError, match="continues"):
        train("yolov8n-seg", Inputs(((shapes, None),)), replace(PLAIN, qat=mode), out)  # type: ignore[arg-type]


def test_a_head_for_other_classes_keeps_what_it_knows() -> None:
    torch.manual_seed(0)
    network, _ = build("yolov8n-seg", names=tuple(f"c{i}" for i in range(80)))
    fewer, _ = build("yolov8n-seg", names=("c7", "new", "c30"))
    before = fewer.state_dict()["model.22.cv3.0.2.weight"].clone()
    fresh = transfer(network.state_dict(), fewer, [f"c{i}" for i in range(80)], ["c7", "new", "c30"])
    assert not [name for name in fresh if "num_batches" not in name]
    old, new = network.state_dict()["model.22.cv3.0.2.weight"], fewer.state_dict()["model.22.cv3.0.2.weight"]
    assert set(new[0].flatten().tolist()) < set(old[7].flatten().tolist())
    assert set(new[2].flatten().tolist()) < set(old[30].flatten().tolist())
    assert torch.equal(new[1], before[1])


def test_norms_that_were_folded_away_get_their_statistics_back() -> None:
    torch.manual_seed(0)
    network, _ = build("yolov8n")
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.uniform_(module.bias, -1, 1)
    images = [torch.rand(4, 3, 64, 64) for _ in range(2)]
    norms = folded_norms(network, frozenset())
    assert norms
    with torch.no_grad():
        wanted = network.eval()(images[0])
        restore_norms(network, norms, images)
        for one, other in zip(wanted, network.eval()(images[0]), strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-4)
    assert not folded_norms(network, frozenset())


@pytest.mark.slow
def test_two_processes_train_as_one(shapes: Path, tmp_path: Path) -> None:
    out = tmp_path / "ddp.safetensors"
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29671",
        "-m", "edgeai", "train", "yolov8n-seg", "--data", str(shapes), "--epochs", "1", "--imgsz", "64", "--batch", "4",
        "--threads", "1", "--json", "-o", str(out),
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    record = from_json(TrainingRecord, done.stdout[done.stdout.index("{") :])
    assert len(record.epochs) == 1
    assert record.weights.sha256 == read_record(out).weights.sha256
    assert load_model(out)[1].names == ("square", "disc")
