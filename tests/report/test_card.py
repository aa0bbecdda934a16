"""The model card: ST's published tables come back out of the numbers they were published with."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest
from helpers import edgeai, refused
from report_runs import SEED_256, SEED_320, Run

from edgeai.artifacts import Measurement, ModelCard, from_json
from edgeai.report.measurements import rate_disagrees, read_measurements

# What STMicroelectronics/stm32ai-modelzoo prints in instance_segmentation/yolov8n_seg/README.md @7f3764d5 (Core 3.0.0)
# and @e9fc1c2f (Core 4.0.0), read from the page: the oracle of these tests.
MEMORY = {
    "3.0.0": [("256x256x3", "855", "0", "3393.42"), ("320x320x3", "1413.89", "0", "3435.34")],
    "4.0.0": [("256x256x3", "855", "0", "3393.42"), ("320x320x3", "1413.89", "0", "3435.34")],
}
NPU_MS = {"3.0.0": ["31.57", "41.87"], "4.0.0": ["32.16", "42.61"]}
MP2 = ("STM32MP257F-EV1", "NPU/GPU", "800 MHz")
LINUX = ("0", "v6.1.0", "TensorFlow Lite")
MPU = [("256x256x3", *MP2, "19.84", "91.71", "8.29", *LINUX), ("320x320x3", *MP2, "30.97", "93.59", "6.41", *LINUX)]
PLATFORMS = {"STM32L0": "[] []", "STM32L4": "[] []", "STM32U5": "[] []", "STM32MP1": "[] []", "STM32MP2": "[x] []",
             "STM32N6": "[x] [x]"}  # fmt: skip


def tables(markdown: str) -> dict[str, list[dict[str, str]]]:
    """Every table of a Markdown text by the heading above it, rows by column."""
    found: dict[str, list[dict[str, str]]] = {}
    heading, header = "", list[str]()
    for line in markdown.splitlines():
        if line.startswith("#"):
            heading, header = line.lstrip("# ").strip(), []
        elif line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if not header:
                header = cells
            elif set(cells[0]) != {"-"}:
                found.setdefault(heading, []).append(dict(zip(header, cells, strict=True)))
        else:
            header = []
    return found


def published(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [row for row in rows if row["Origin"].startswith("*published")]


@pytest.mark.parametrize("core", ["3.0.0", "4.0.0"])
def test_the_seed_card_comes_back_from_its_numbers(
    core: str, kit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "card.md"
    numbers = [option for name in ("n6", "mp2") for option in ("--measurements", kit / "published" / f"{name}.csv")]
    files = [kit / "tflite" / name for name in (SEED_256, SEED_320)]
    assert edgeai(capsys, "card", *files, *numbers, "--core", core, "-o", out).code == 0
    text = out.read_text()
    found = tables(text)
    memory = published(found["Reference NPU memory footprint"])
    columns = ("Resolution", "Internal RAM (KiB)", "External RAM (KiB)", "Weights Flash (KiB)")
    assert [tuple(row[name] for name in columns) for row in memory] == MEMORY[core]
    times = published(found["Reference NPU inference time"])
    assert [row["Inference time (ms)"] for row in times] == NPU_MS[core]
    assert all(row["Board"] == "STM32N6570-DK" and row["Execution Engine"] == "NPU/MCU" for row in times)
    assert all(row["STEdgeAI Core version"] == core for row in [*memory, *times])
    assert [row["Inf / sec"] for row in times] == [f"{1000 / float(ms):.2f}" for ms in NPU_MS[core]]
    columns = ("Resolution", "Board", "Execution Engine", "Frequency", "Inference time (ms)", "%NPU", "%GPU", "%CPU",
               "X-LINUX-AI version", "Framework")  # fmt: skip
    mpu = published(found["Reference MPU inference time"])
    assert [tuple(row[name] for name in columns) for row in mpu] == MPU
    assert all(row["Quantization"].startswith("per-channel") and row["Format"] == "Int8" for row in mpu)
    platforms = {row["Platform"]: f"{row['Supported']} {row['Recommended']}" for row in found["Recommended platforms"]}
    assert {name: platforms[name] for name in PLATFORMS} == PLATFORMS
    disagreements = re.findall(r"Published ([\d.]+) inf/s of (\S+) .*?published ([\d.]+) ms", text)
    expected = [("29.72", SEED_256[:-7], "31.57"), ("22.83", SEED_320[:-7], "41.87")] if core == "3.0.0" else []
    assert disagreements == expected
    assert text.count("is labelled per-channel; the file is per-tensor (0 of 77") == 2


def test_a_published_mcu_table_comes_back(kit: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The row of YOLOv8n at 256 px in object_detection/yolov8n/README.md @e9fc1c2f, totals as printed there."""
    model = kit / "tflite" / "yolov8n_256_quant_pc_uf_od_coco-person.tflite"
    numbers = ("--measurements", kit / "published" / "mcu.csv", "--board", "STM32H747I-DISCO")
    found = tables(edgeai(capsys, "card", model, *numbers).out)
    memory = published(found["Reference MCU memory footprint"])[0]
    columns = ("Activation RAM (KiB)", "Runtime RAM (KiB)", "Weights Flash (KiB)", "Code Flash (KiB)",
               "Total RAM (KiB)", "Total Flash (KiB)")  # fmt: skip
    assert [float(memory[name]) for name in columns] == [653.67, 62.11, 2959.08, 151.29, 715.78, 3110.37]
    time = published(found["Reference MCU inference time"])[0]
    assert (time["Board"], time["Frequency"], time["Inference time (ms)"]) == ("STM32H747I-DISCO", "400 MHz", "2831.07")


def test_every_table_says_where_its_figures_come_from(
    run_folder: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "card.md"
    assert edgeai(capsys, "card", run_folder.folder, "-o", out).code == 0
    found = tables(out.read_text())
    figures = {name: rows for name, rows in found.items() if name.startswith("Reference") or name == "Accuracy"}
    assert len(figures) >= 3
    for rows in figures.values():
        assert all(re.match(r"\*(estimate|measured|published|ST Edge AI Core)", row["Origin"]) for row in rows)
    estimate = found["Reference NPU inference time"][0]
    low, point, high = (float(v) for v in re.findall(r"[\d.]+", "{2} {0} {3}".format(*_numbers(estimate))))
    assert low < point < high
    accuracy = found["Accuracy"]
    want = [f"{result.metric('mask_ap'):.2f}" for result in run_folder.record.results]
    assert [row["Mask AP"] for row in accuracy] == want
    assert "license: agpl-3.0" in out.read_text() and "pipeline_tag: image-segmentation" in out.read_text()


def _numbers(row: dict[str, str]) -> list[str]:
    """Point, nothing, low and high of a time with its interval."""
    point, low, high = re.findall(r"[\d.]+", row["Inference time (ms)"])
    return [point, "", low, high]


def test_a_card_is_the_same_bytes_twice_and_its_json_reads_back(
    kit: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = kit / "tflite" / SEED_256
    first, second = (edgeai(capsys, "card", model).out for _ in range(2))
    assert first == second and first.startswith("---\n")
    card = from_json(ModelCard, edgeai(capsys, "card", model, "--json").out)
    assert card.models[0].name == SEED_256 and card.licences.findings[0].severity == "conflict"
    assert edgeai(capsys, "card", model, "--licence", "AGPL-3.0").out.startswith("---\nlicense: agpl-3.0\n")


def test_rates_that_disagree_are_found_and_no_others(kit: Path) -> None:
    """The kit marks four rows of the N6; two more are off by less than a per cent, which its check let pass."""
    file = kit / "published" / "n6.csv"
    with file.open(newline="") as stream:
        marked = {row["row_ids"] for row in csv.DictReader(stream) if "ANOMALY inf/s" in row["caveat"]}
    with file.open(newline="") as stream:
        ids = [row["row_ids"] for row in csv.DictReader(stream)]
    rows = read_measurements(file)
    found = {i: row for i, row in zip(ids, rows, strict=True) if rate_disagrees(row)}
    assert marked <= set(found) and len(marked) == 4
    beyond: list[Measurement] = [row for i, row in found.items() if i not in marked]
    assert {row.model for row in beyond} == {"yolov2t_224_int8", "yolov2t_416_int8"}


@pytest.mark.parametrize(
    ("content", "word"),
    [
        ("model_name,latency_ms\nx,1\n", "tool_name"),
        ("model_name,latency_ms,tool_name,tool_version\nx,fast,Core,1\n", "line 2"),
        ("model_name,latency_ms,tool_name,tool_version\nx,-3,Core,1\n", "latency_ms"),
        ("model_name,latency_ms,tool_name,tool_version\nx,nan,Core,1\n", "not a number"),
        ("", "model_name"),
    ],
)
def test_bad_measurements_are_refused(
    content: str, word: str, kit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.csv"
    file.write_text(content)
    refused(edgeai(capsys, "card", kit / "tflite" / SEED_256, "--measurements", file), 2, word)


def test_own_measurements_are_called_measured(kit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.csv"
    head = "model_name,board_time,latency_ms,tool_name,tool_version"
    file.write_text(f"{head}\n{SEED_256[:-7]},STM32N6570-DK,30.5,STEdgeAI Core,4.0.0\n")
    text = edgeai(capsys, "card", kit / "tflite" / SEED_256, "--measurements", file).out
    row = tables(text)["Reference NPU inference time"][0]
    assert row["Origin"] == "*measured on board, STEdgeAI Core 4.0.0*" and row["Inf / sec"] == "32.79"


def test_text_from_files_cannot_break_the_card(kit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = tmp_path / "a|b<script>`x`[l](u).tflite"
    model.write_bytes((kit / "tflite" / SEED_256).read_bytes())
    file = tmp_path / "mine.csv"
    head = "model_name,dataset,board_time,latency_ms,tool_name,tool_version,model_link"
    evil = '"x|y\n## z"'
    link = '"a/b:c) [click](javascript:alert(1)"'
    file.write_text(f"{head}\n{model.stem},{evil},STM32N6570-DK,30.5,Core,1,{link}\n")
    text = edgeai(capsys, "card", model, "--measurements", file).out
    rows = tables(text)["Reference NPU inference time"]
    shown = re.sub(r"(?ms)^```\n.*?^```$", "", text)  # within a block of code nothing means anything
    assert "<script>" not in shown.replace("\\<script\\>", "")
    assert "\n## z" not in text and "javascript:" not in text
    assert rows[0]["Dataset"].startswith("x\\|y")


def test_what_is_no_run_and_no_model_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.txt").write_text("x")
    (tmp_path / "x.tflite").write_text("x")
    refused(edgeai(capsys, "card", tmp_path / "empty"), 2, "run.json")
    refused(edgeai(capsys, "card", tmp_path / "x.txt"), 2, "neither")
    refused(edgeai(capsys, "card", tmp_path / "x.tflite"), 2, "x.tflite")
    refused(edgeai(capsys, "card", tmp_path / "none.tflite"), 2, "does not exist")


def test_without_arguments_the_latest_run_is_meant(
    run_folder: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    refused(edgeai(capsys, "card"), 2, "no run in", "edgeai run")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "one").symlink_to(run_folder.folder)
    assert edgeai(capsys, "card").code == 0
    assert (tmp_path / "runs" / "one" / "README.md").read_text().startswith("---\n")
    (run_folder.folder / "README.md").unlink()
