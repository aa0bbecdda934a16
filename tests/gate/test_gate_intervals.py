"""Intervals, categories, budgets and stored baselines: when a gate that knows its own noise passes and fails."""

from __future__ import annotations

import dataclasses
import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from gate_builders import NAMES, bench, dataset, detected, footprint
from helpers import edgeai, refused

from edgeai.artifacts import BaselineStore, BenchCheck, EvalResult, GateVerdict, from_json, to_json
from edgeai.errors import InputError
from edgeai.gate.baselines import compare, updated
from edgeai.gate.budgets import Budgets, budget_checks, figures
from edgeai.gate.policy import Rule, judge
from edgeai.gate.writers import junit, markdown

PLAIN, SURE, STRICT = Rule(interval=0.95), Rule(0.95, significant=True), Rule(0.95, strict=True)


@pytest.fixture(autouse=True)
def outside_of_any_project(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)


@pytest.fixture(scope="module")
def good() -> EvalResult:
    return detected("fp32", 2.0)


@pytest.fixture(scope="module")
def near() -> EvalResult:
    """As good as `good`, with other noise."""
    return detected("int8", 2.0, seed=5)


@pytest.fixture(scope="module")
def bad() -> EvalResult:
    return detected("int8", 4.0, seed=5)


def older(result: EvalResult) -> EvalResult:
    return dataclasses.replace(result, matches=())


# --- intervals ----------------------------------------------------------------------------------


def test_a_clear_loss_fails_under_every_rule_and_none_passes_strictly(
    good: EvalResult, near: EvalResult, bad: EvalResult
) -> None:
    for rule in (PLAIN, SURE, STRICT):
        verdict = judge(good, bad, 1.0, rule=rule)
        assert not verdict.passed and verdict.checks[0].interval is not None
        assert verdict.checks[0].interval.low > 1.0
        assert judge(good, good, 0.0, rule=rule).passed  # against itself the interval is 0 to 0
    found = judge(good, near, 1.0, rule=SURE).checks[0]
    assert found.interval is not None and found.interval.low < 0 < found.interval.high


def test_between_the_ends_of_the_interval_the_rules_differ(good: EvalResult, bad: EvalResult) -> None:
    interval = judge(good, bad, 1.0, rule=PLAIN).checks[0].interval
    assert interval is not None and interval.low < interval.drop < interval.high
    below, above = (interval.low + interval.drop) / 2, (interval.drop + interval.high) / 2
    decisions = {
        (limit, rule.decided_by): judge(good, bad, limit, rule=rule).passed
        for limit in (below, above)
        for rule in (PLAIN, SURE, STRICT)
    }
    names = ("drop", "significant drop", "no significant pass")
    assert [decisions[below, name] for name in names] == [False, True, False]
    assert [decisions[above, name] for name in names] == [True, True, False]
    for rule in (PLAIN, SURE, STRICT):
        assert judge(good, bad, interval.high + 1e-6, rule=rule).passed
        assert not judge(good, bad, interval.low - 1e-6, rule=rule).passed


def test_results_without_matches_fall_back_and_say_so_once(good: EvalResult, bad: EvalResult) -> None:
    verdict = judge(older(good), bad, 1.0, rule=SURE)
    assert not verdict.passed and verdict.checks[0].interval is None
    assert verdict.notes == (verdict.checks[0].note,)
    assert "no interval for box_ap: the result of fp32 has no matches per image" in verdict.notes[0]
    assert "no interval for box\\_ap" in markdown(verdict) or "no interval for box_ap" in markdown(verdict)
    assert judge(older(good), older(bad), 100.0, rule=SURE).passed
    with pytest.raises(InputError, match="--strict needs an interval"):
        judge(older(good), bad, 1.0, rule=STRICT)


@pytest.mark.parametrize("confidence", [0.3, 1.0, 1.5])
def test_confidences_that_make_no_sense(confidence: float, good: EvalResult) -> None:
    with pytest.raises(InputError, match="confidence"):
        judge(good, good, 1.0, rule=Rule(confidence, significant=True))


# --- categories ---------------------------------------------------------------------------------


def test_one_bad_category_is_found_where_the_mean_hides_it(good: EvalResult) -> None:
    candidate = detected("int8", 2.0, worse="owl")
    limit = 45.0
    assert judge(good, candidate, limit, rule=SURE).passed
    verdict = judge(good, candidate, limit, rule=dataclasses.replace(SURE, max_class_drop=10.0))
    assert not verdict.passed and all(check.passed for check in verdict.checks)
    assert [entry.category for entry in verdict.classes if not entry.passed] == ["owl"]
    assert verdict.classes[0].category == "owl" and verdict.classes[0].interval is not None
    assert {entry.category for entry in verdict.classes} == set(NAMES)
    # the drop of a category by itself is the difference of what pycocotools says of it
    by_name = [{e.category: e.value for e in r.per_class if e.metric == "box_ap"} for r in (good, candidate)]
    assert verdict.classes[0].drop == pytest.approx(by_name[0]["owl"] - by_name[1]["owl"])
    assert verdict.classes[0].interval.drop == pytest.approx(verdict.classes[0].drop, abs=1e-6)
    failed = [c for c in ET.fromstring(junit(verdict)).iter("testcase") if c.find("failure") is not None]
    assert [case.get("name") for case in failed] == ["box_ap[owl]"]
    assert "Categories over their limit" in markdown(verdict)


def test_chance_in_a_rare_category_does_not_fail_a_sure_gate(good: EvalResult, near: EvalResult) -> None:
    worst = max(entry.drop for entry in judge(good, near, 100.0).classes)
    assert worst > 0.5  # noise alone
    limit = worst / 2
    assert not judge(good, near, 100.0, rule=Rule(max_class_drop=limit)).passed
    assert judge(good, near, 100.0, rule=dataclasses.replace(SURE, max_class_drop=limit)).passed


# --- budgets ------------------------------------------------------------------------------------


def test_budgets_of_footprint_and_bench() -> None:
    checks = budget_checks([footprint(700, 26)], [bench(31)], Budgets(ram=800 * 1024, latency=30))
    found = {(check.name, check.source): check.passed for check in checks}
    assert found == {
        ("fits", "estimate"): True,
        ("ram", "estimate"): True,
        ("ram", "stm32msg 3.1 perf"): True,
        ("latency", "estimate"): True,
        ("latency", "stm32msg 3.1 perf"): False,
    }
    tight = budget_checks([footprint(700, 26, fits=False)], [], Budgets(ram=699 * 1024))
    assert [check.passed for check in tight] == [False, False] and "over by 3 KiB" in tight[0].note
    own = budget_checks([], [bench(31, checks=(BenchCheck("latency", "ms", 31.0, 20.0, False),))], Budgets())
    assert [check.passed for check in own] == [False]
    with pytest.raises(InputError, match="--max-latency has no figure"):
        budget_checks([], [], Budgets(latency=5))
    with pytest.raises(InputError, match="ticks"):
        budget_checks([], [bench(1000, "ticks")], Budgets(latency=5))


# --- stored baselines ---------------------------------------------------------------------------


def test_progress_regress_missing_new(good: EvalResult, near: EvalResult, bad: EvalResult) -> None:
    renamed = {n: dataclasses.replace(r, name=n) for n, r in (("a", bad), ("b", good), ("c", near), ("gone", near))}
    store = updated(BaselineStore(), list(renamed.values()), figures([footprint(700, 26)], []))
    now = [dataclasses.replace(r, name=n) for n, r in (("a", good), ("b", bad), ("c", good), ("fresh", near))]
    changes = compare(store, now, figures([footprint(600, 40)], []), 1.0, SURE)
    status = {(change.subject.partition(" ")[0], change.name): change.status for change in changes}
    assert status == {
        ("a", "box_ap"): "progress",
        ("b", "box_ap"): "regress",
        ("c", "box_ap"): "same",
        ("gone", "box_ap"): "missing",
        ("fresh", "box_ap"): "new",
        ("int8.tflite", "ram (estimate)"): "progress",
        ("int8.tflite", "flash (estimate)"): "same",
        ("int8.tflite", "latency (estimate)"): "regress",
    }
    assert {change.status for change in changes if not change.passed} == {"regress", "missing"}
    only = compare(store, now, (), 1.0, SURE)
    assert {change.unit for change in only} == {"points"}  # memory was not measured: nothing is said of it
    assert from_json(BaselineStore, to_json(store)) == store
    assert updated(store, [], ()) == store


def test_figures_of_different_sources_are_different_figures() -> None:
    both = figures([footprint(700, 26)], [bench(31)])
    store = updated(BaselineStore(), [], both)
    assert len(store.figures) == len(both) == 6
    assert {change.status for change in compare(store, [], both, 1.0, PLAIN)} == {"same"}
    # a job without a board says nothing of the board's figures
    assert len(compare(store, [], figures([footprint(700, 26)], []), 1.0, PLAIN)) == 3
    slower = compare(store, [], figures([], [bench(40)]), 1.0, PLAIN)
    assert [(c.name, c.status) for c in slower if not c.passed] == [("latency (stm32msg 3.1 perf)", "regress")]
    fewer = compare(store, [], [figure for figure in both if figure.name != "flash"], 1.0, PLAIN)
    assert sorted(c.name for c in fewer if c.status == "missing") == ["flash (estimate)", "flash (stm32msg 3.1 perf)"]


def test_other_protocols_and_doubles_are_refused(good: EvalResult) -> None:
    store = updated(BaselineStore(), [good], ())
    strange = dataclasses.replace(good, protocol=dataclasses.replace(good.protocol, imgsz=320))
    with pytest.raises(InputError, match="measured differently"):
        compare(store, [strange], (), 1.0, PLAIN)
    with pytest.raises(InputError, match="given twice"):
        compare(store, [good, good], (), 1.0, PLAIN)


# --- the command --------------------------------------------------------------------------------


@pytest.fixture
def files(good: EvalResult, near: EvalResult, bad: EvalResult, tmp_path: Path) -> Path:
    artifacts = {
        "good": good, "near": near, "bad": bad, "old": older(good),
        "fp": footprint(700, 26), "slow": footprint(700, 45), "bench": bench(25.0),
    }  # fmt: skip
    for name, artifact in artifacts.items():
        (tmp_path / f"{name}.json").write_text(to_json(artifact))
    return tmp_path


def test_one_verdict_and_its_exit_code(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def gate(candidate: str, need: str, *more: object) -> tuple[int, GateVerdict]:
        done = edgeai(
            capsys, "gate", "--baseline", "good.json", "--candidate", f"{candidate}.json", "--footprint",
            f"{need}.json", "--bench", "bench.json", "--max-latency", 30, "--confidence", 0.95, *more, "--json",
        )  # fmt: skip
        return done.code, from_json(GateVerdict, done.out)

    code, verdict = gate("near", "fp")
    assert code == 0 and verdict.passed and {b.kind for b in verdict.budgets} == {"memory", "latency"}
    assert gate("near", "slow")[0] == 3
    assert gate("bad", "fp")[0] == 4
    assert gate("bad", "slow")[0] == 4
    shown = edgeai(capsys, "gate", "--footprint", "slow.json", "--max-latency", 30)
    assert shown.code == 3 and "over its budget: 45.00 ms of 30.00 ms" in shown.out and "gate FAILED" in shown.out


def test_the_terminal_shows_the_interval_and_the_rule(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["gate", "--baseline", "good.json", "--candidate", "bad.json"]
    plain = edgeai(capsys, *common)
    assert plain.code == 4 and "95 % interval" in plain.out and "its drop is over the limit" in plain.out
    assert "lost most: " in plain.out
    sure = edgeai(capsys, *common, "--confidence", 0.9, "--max-class-drop", 1)
    assert "90 % interval" in sure.out and "whole interval" in sure.out and "FAILED  box_ap of" in sure.out
    assert max(map(len, plain.out.splitlines())) <= 80
    old = edgeai(capsys, "gate", "--baseline", "old.json", "--candidate", "near.json")
    assert old.code == 0 and old.out.count("no interval") == 1
    refused(edgeai(capsys, "gate", "--baseline", "old.json", "--candidate", "near.json", "--strict"), 2, "--strict")


def test_the_store_from_first_use_to_regression(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    common = ["gate", "--store", "b.json", "--candidate", "near.json", "--footprint", "fp.json"]
    refused(edgeai(capsys, *common), 2, "no stored baselines", "--update")
    assert edgeai(capsys, *common, "--update").code == 0
    first = (files / "b.json").read_bytes()
    again = edgeai(capsys, *common)
    assert again.code == 0 and "same" in again.out and (files / "b.json").read_bytes() == first
    worse = edgeai(capsys, "gate", "--store", "b.json", "--candidate", "bad.json", "--footprint", "slow.json")
    assert worse.code == 4 and worse.out.count("REGRESS") == 2
    slower = edgeai(capsys, "gate", "--store", "b.json", "--footprint", "slow.json")
    assert slower.code == 3 and "REGRESS" in slower.out
    assert edgeai(capsys, "gate", "--store", "b.json", "--footprint", "slow.json", "--tolerance", 90).code == 0
    gone = edgeai(capsys, "gate", "--store", "b.json", "--candidate", "good.json")
    assert gone.code == 4 and "MISSING" in gone.out and "new" in gone.out
    assert edgeai(capsys, "gate", "--store", "b.json", "--candidate", "good.json", "--allow-missing").code == 0
    accepted = edgeai(capsys, "gate", "--store", "b.json", "--candidate", "bad.json", "--update")
    assert accepted.code == 0 and "stored in b.json" in accepted.out
    assert edgeai(capsys, "gate", "--store", "b.json", "--candidate", "bad.json").code == 0


def test_usage(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(edgeai(capsys, "gate"), 2, "nothing to judge")
    refused(edgeai(capsys, "gate", "--baseline", "good.json"), 2, "needs one --candidate")
    refused(edgeai(capsys, "gate", "--candidate", "near.json", "--update"), 2, "--store")
    refused(edgeai(capsys, "gate", "--footprint", "good.json"), 2, "holds a EvalResult")
    refused(edgeai(capsys, "gate", "--footprint", "fp.json", "--max-ram", "lots"), 2, "not a size")
    damaged = json.loads((files / "near.json").read_text())
    damaged["matches"][0]["classes"][0]["detections"] = "!"
    (files / "damaged.json").write_text(json.dumps(damaged))
    refused(edgeai(capsys, "gate", "--baseline", "good.json", "--candidate", "damaged.json"), 2, "damaged")


def test_the_builders_give_every_class_objects() -> None:
    assert {entry.category_id for entry in dataset().objects} == {1, 2, 3}
