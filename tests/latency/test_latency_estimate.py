"""Latency, budgets, variants, recommendation and the error table."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgeai.artifacts import EstimatorReport, Footprint, from_json, to_json
from edgeai.board import load_board
from edgeai.errors import InputError
from edgeai.footprint.estimate import Limits
from edgeai.graph import load_graph
from edgeai.latency.constants import FILE, latency_tables, prior_tables
from edgeai.latency.estimate import assess, estimate_latency, weights_are_far
from edgeai.latency.fit import fit, predict, sample
from edgeai.latency.model import op_times
from edgeai.latency.recommend import recommend
from edgeai.latency.validate import estimated, golden_rows, network, refit, validate

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
    other = kit / "tflite" / "yolov8n_320_quant_pc_ii_seg_coco-st.tflite"
    scaled, real = assess(kit / SEG, load_board("stm32n6"), what_if=("imgsz=320",), others=(("real", other),)).what_if
    assert (scaled.ram, scaled.software) == (real.ram, real.software)
    assert scaled.ms == pytest.approx(real.ms, rel=0.01)


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

    ram = errors("n6", "Core RAM", ("3", "4"))
    assert len(ram) >= 5 and ram[len(ram) // 2] <= 0.055 and ram[-1] <= 0.15
    assert errors("n6", "Core flash", ("3", "4"))[-1] <= 0.03
    latency = errors("n6", "latency", ("3", "4"))
    assert sum(latency) / len(latency) <= 0.08
    assert errors("mcu", "Core flash", ("7", "8", "10", "3", "4"))[-1] <= 0.005
    for target, name, bar in (
        ("mcu", "latency", 0.15),
        ("mp2", "latency ms, per-tensor", 0.2),
        ("mp1", "latency", 0.15),
    ):
        found = errors(target, name, ("3", "4", "5", "6", "7", "8", "10"))
        assert len(found) >= 2 and sum(found) / len(found) <= bar, target
    inside = [r.low <= r.published <= r.high for r in exact if r.quantity.startswith(("Core RAM", "latency"))]
    assert sum(inside) >= 0.9 * len(inside)
    assert from_json(EstimatorReport, to_json(report)) == report


def test_split_is_by_family(kit: Path) -> None:
    splits: dict[str, set[str]] = {}
    for row in golden_rows(kit / "published"):
        if row.granularity is None:
            splits.setdefault(row.family, set()).add(row.split)
    assert all(len(found) == 1 for found in splits.values()) and {"fit", "report"} <= set().union(*splits.values())


def test_refit_writes_the_committed_constants(kit: Path) -> None:
    """From the priors and the fit split alone come the bytes of the data file."""
    assert refit(kit / "published") == FILE.read_text(encoding="utf-8")


def test_fitted_tables_differ_from_the_priors_in_rates_only() -> None:
    pairs = list(zip(prior_tables().table, latency_tables().table, strict=True))
    for prior, fitted in pairs:
        same = dataclasses.replace(fitted, rates=prior.rates, gpu_mac=prior.gpu_mac, gpu_op=prior.gpu_op)
        assert same == prior
    assert any(prior.rates != fitted.rates for prior, fitted in pairs)


def test_fit_finds_the_rate_of_made_up_times(kit: Path) -> None:
    """Times computed with one rate trebled: a fit that starts without that knowledge comes back to them."""
    prior = next(t for t in prior_tables().table if t.unit == "Cortex-M33")
    truth = dataclasses.replace(prior, rates=dataclasses.replace(prior.rates, pointwise=3 * prior.rates.pointwise))
    rows = {r.model: r for r in golden_rows(kit / "published") if r.target == "mcu" and r.version[:2] == "8."}
    samples = [sample(network(row), row, prior, "mcu", 1.0, False) for row in rows.values()]
    samples = [dataclasses.replace(s, published_ms=predict(s, truth)) for s in samples]
    found = fit(dataclasses.replace(prior, prior_weight=1e-6), samples)
    assert found.rates.pointwise == pytest.approx(truth.rates.pointwise, rel=0.1)


def test_summed_operators_take_the_time_of_all(kit: Path) -> None:
    """What a fit sums by kind is what `estimate_latency` adds up."""
    rows = golden_rows(kit / "published")
    row = next(r for r in rows if r.model == "mobilenet_v2_0.35_224_fft_int8" and r.target == "mcu")
    table = next(t for t in latency_tables().table if t.unit == "Cortex-M7" and row.version in t.versions)
    graph = network(row)
    short = predict(sample(graph, row, table, "mcu", 1.0, False), table)
    assert short == pytest.approx(sum(entry.ms for entry in op_times(graph, table, "mcu", row.version)))


def test_weights_in_external_flash_cost_time(kit: Path) -> None:
    board = load_board("stm32h747")
    graph = load_graph(kit / SEG)
    pools = tuple(dataclasses.replace(p, size_kib=8192) if p.name == "flash" else p for p in board.pools)
    roomy = dataclasses.replace(board, pools=pools)
    assert weights_are_far(graph, board) and not weights_are_far(graph, roomy)
    assert estimate_latency(graph, board).ms.point > 1.5 * estimate_latency(graph, roomy).ms.point


def test_tables_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds none of"):
        golden_rows(tmp_path)
    (tmp_path / "n6.csv").write_text("model_name\nx\n")
    with pytest.raises(InputError, match="the column"):
        golden_rows(tmp_path)


def test_external_ram_rows_are_not_compared(kit: Path) -> None:
    row = golden_rows(kit / "published")[0]
    spilled = dataclasses.replace(row, external_kib=512.0)
    assert not any(r.quantity.startswith("Core RAM") for r in estimated(spilled))
