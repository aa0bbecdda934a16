"""Latency, budgets, variants, recommendation and the error table."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgeai.artifacts import EstimatorReport, Footprint, from_json, to_json
from edgeai.board import load_board
from edgeai.errors import InputError
from edgeai.footprint.estimate import Limits
from edgeai.latency.constants import latency_tables
from edgeai.latency.estimate import assess
from edgeai.latency.fit import fit, predict
from edgeai.latency.recommend import recommend
from edgeai.latency.validate import estimated, golden_rows, network, validate

SEG = "tflite/yolov8n_256_quant_pc_ii_seg_coco-st.tflite"


def test_seed_model_on_the_n6(kit: Path) -> None:
    found = assess(kit / SEG, load_board("stm32n6"))
    assert found.latency is not None and found.memory is not None
    ms = found.latency.ms
    assert ms.low < 32.16 < ms.high and ms.point == pytest.approx(32.16, rel=0.15)
    assert found.memory.ram.point / 1024 == pytest.approx(855, rel=0.1)
    assert sum(op.ms for op in found.latency.ops) == pytest.approx(ms.point)
    assert from_json(Footprint, to_json(found)) == found
    older = assess(kit / SEG, load_board("stm32n6"), "2.0.0")
    assert older.latency is not None and older.latency.ms.point > ms.point


def test_budgets(kit: Path) -> None:
    board = load_board("stm32n6")
    found = assess(kit / SEG, board, limits=Limits(latency_ms=5.0))
    assert not found.fits and found.reasons[0].startswith("latency is over its budget by")
    found = assess(kit / SEG, board, limits=Limits(ram=500 * 1024, flash=1 << 20))
    assert not found.fits and [r.split()[0] for r in found.reasons[:2]] == ["RAM", "flash"]
    assert assess(kit / SEG, board, limits=Limits(ram=1 << 20, flash=4 << 20, latency_ms=60)).fits


def test_variants(kit: Path) -> None:
    found = assess(kit / SEG, load_board("stm32mp2"), what_if=("imgsz=192,320", "granularity=per-tensor,per-channel"))
    small, large, tensor, channel = found.what_if
    assert small.ram < large.ram and small.ms < large.ms
    assert channel.ms > 2 * tensor.ms, "per-channel weights run on the GPU"
    for wrong in ("imgsz=big", "colour=red", "imgsz="):
        with pytest.raises(InputError, match="--what-if"):
            assess(kit / SEG, load_board("stm32n6"), what_if=(wrong,))


def test_clock_scales_the_cpu(kit: Path) -> None:
    slow, fast = (assess(kit / SEG, load_board(name)).latency for name in ("stm32h747", "stm32h743"))
    assert slow is not None and fast is not None
    assert slow.ms.point / fast.ms.point == pytest.approx(480 / 400)
    assert any("MHz" in note for note in fast.notes)


def test_recommendation_is_the_table_of_st(kit: Path) -> None:
    verdicts = {advice.family: advice.verdict for advice in recommend(kit / SEG).boards}
    assert {name: verdicts[name] for name in ("STM32L0", "STM32L4", "STM32U5", "STM32MP1")} == dict.fromkeys(
        ("STM32L0", "STM32L4", "STM32U5", "STM32MP1"), "no"
    )
    assert verdicts["STM32MP2"] == "supported" and verdicts["STM32N6"] == "recommended"
    assert all(advice.reason for advice in recommend(kit / SEG).boards)


def test_error_table(kit: Path) -> None:
    """The bars that hold; the table itself is printed by `edgeai validate-estimators`."""
    report = validate(kit / "published")
    exact = [r for r in report.rows if r.split == "report" and r.match == "exact" and r.used]

    def errors(target: str, quantity: str, versions: tuple[str, ...]) -> list[float]:
        return sorted(
            abs(r.estimated / r.published - 1)
            for r in exact
            if r.target == target and r.quantity.startswith(quantity) and r.version.split(".")[0] in versions
        )

    ram = errors("n6", "RAM", ("3", "4"))
    assert len(ram) >= 5 and ram[len(ram) // 2] <= 0.055 and ram[-1] <= 0.15
    assert errors("n6", "weights", ("3", "4"))[-1] <= 0.03
    latency = errors("n6", "latency", ("3", "4"))
    assert sum(latency) / len(latency) <= 0.08
    assert errors("mcu", "weights", ("7", "8", "10", "3", "4"))[-1] <= 0.005
    assert from_json(EstimatorReport, to_json(report)) == report


def test_split_is_by_family(kit: Path) -> None:
    splits: dict[str, set[str]] = {}
    for row in golden_rows(kit / "published"):
        if row.granularity is None:
            splits.setdefault(row.family, set()).add(row.split)
    assert all(len(found) == 1 for found in splits.values()) and {"fit", "report"} <= set().union(*splits.values())


def test_fit_improves_on_a_wrong_table(kit: Path) -> None:
    rows = [r for r in golden_rows(kit / "published") if r.model == "yamnet_256_64x96_tl_int8" and r.target == "mcu"]
    table = next(t for t in latency_tables().table if t.unit == "Cortex-M33")
    wrong = dataclasses.replace(table, rates=dataclasses.replace(table.rates, pointwise=table.rates.pointwise * 3))
    samples = [(row, network(row), 1.0) for row in rows]

    def miss(which: object) -> float:
        assert isinstance(which, type(table))
        return sum(abs(predict(g, which, "mcu", r.version, s) - (r.latency_ms or 0)) for r, g, s in samples)

    assert miss(fit(wrong, "mcu", samples)) < 0.5 * miss(wrong)


def test_tables_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds none of"):
        golden_rows(tmp_path)
    (tmp_path / "n6.csv").write_text("model_name\nx\n")
    with pytest.raises(InputError, match="the column"):
        golden_rows(tmp_path)


def test_external_ram_rows_are_not_compared(kit: Path) -> None:
    row = golden_rows(kit / "published")[0]
    spilled = dataclasses.replace(row, external_kib=512.0)
    assert not any(r.quantity.startswith("RAM") for r in estimated(spilled))
