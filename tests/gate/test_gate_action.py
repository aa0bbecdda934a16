"""The composite action: it is sound YAML, and its steps do what they say in a real shell."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gate_builders import bench, detected, footprint

from edgeai.artifacts import GateVerdict, from_json, to_json

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def action() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
    return loaded


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    artifacts = {
        "fp32": detected("fp32", 2.0), "near": detected("near", 2.0, seed=5), "bad one": detected("bad", 5.0, seed=5),
        "fp": footprint(700, 26), "bench": bench(25.0),
    }  # fmt: skip
    for name, artifact in artifacts.items():
        (folder / f"{name}.json").write_text(to_json(artifact))
    return folder


def step(action: dict[str, Any], name: str) -> dict[str, Any]:
    return next(entry for entry in action["runs"]["steps"] if entry.get("id") == name)


def filled(text: str, inputs: dict[str, str], action: dict[str, Any]) -> str:
    """GitHub's expressions in a step's environment, evaluated."""

    def value(found: re.Match[str]) -> str:
        expression = found[1].strip()
        if expression == "github.action_path":
            return str(ROOT)
        kind, _, name = expression.partition(".")
        assert kind == "inputs" and name in action["inputs"], expression
        return inputs.get(name, action["inputs"][name]["default"])

    return re.sub(r"\$\{\{(.*?)\}\}", value, text)


def run(action: dict[str, Any], results: Path, tmp_path: Path, **inputs: str) -> tuple[int, dict[str, str], str]:
    """Run the gate step as GitHub does (`bash -eo pipefail`): exit code, outputs, step summary."""
    gate = step(action, "gate")
    chosen = {name.replace("_", "-"): value for name, value in inputs.items()}
    out, summary = tmp_path / "github_output", tmp_path / "summary.md"
    out.write_text("")
    summary.write_text("")
    environment = {name: filled(value, chosen, action) for name, value in gate["env"].items()}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", gate["run"]],
        cwd=results, check=False, capture_output=True, text=True, timeout=120,
        env={**os.environ, **environment, "PATH": path, "GITHUB_OUTPUT": str(out), "GITHUB_STEP_SUMMARY": str(summary)},
    )  # fmt: skip
    pairs = dict(line.split("=", 1) for line in out.read_text().splitlines())
    return done.returncode, pairs, summary.read_text()


def test_it_is_a_composite_action_github_would_take(action: dict[str, Any]) -> None:
    assert {"name", "description", "inputs", "outputs", "runs"} <= set(action)
    assert action["runs"]["using"] == "composite"
    for entry in action["runs"]["steps"]:
        assert ("run" in entry) != ("uses" in entry)
        if "run" in entry:
            assert entry["shell"] == "bash"
            assert "${{" not in entry["run"]  # inputs are data, never part of the script
            subprocess.run(["bash", "-n", "-c", entry["run"]], check=True)
    for value in action["inputs"].values():
        assert value["description"] and isinstance(value["default"], str)
    used = set(re.findall(r"inputs\.([a-z-]+)", (ROOT / "action.yml").read_text()))
    assert used == set(action["inputs"])
    named = re.findall(r'echo "([a-z-]+)=', step(action, "gate")["run"])
    assert sorted(named) == sorted(action["outputs"])


def test_every_option_it_passes_exists(action: dict[str, Any]) -> None:
    from edgeai.cli.gate import command

    known = {option for parameter in command.params for option in parameter.opts}
    passed = set(re.findall(r"(--[a-z-]+)", step(action, "gate")["run"]))
    assert passed and passed <= known


def test_passed(action: dict[str, Any], results: Path, tmp_path: Path) -> None:
    code, pairs, summary = run(
        action, results, tmp_path, baseline="fp32.json", candidate="near.json", footprint="fp.json\n",
        bench="bench.json", max_latency="30", max_ram="800K", confidence="0.95", output_folder=str(tmp_path / "o"),
    )  # fmt: skip
    assert (code, pairs["verdict"], pairs["exit-code"]) == (0, "passed", "0")
    verdict = from_json(GateVerdict, Path(pairs["json"]).read_text())
    assert verdict.passed and verdict.decided_by == "significant drop" and len(verdict.budgets) == 5
    assert Path(pairs["markdown"]).read_text() == summary and summary.startswith("### Gate: passed")
    assert Path(pairs["junit"]).read_text().startswith("<?xml")


def test_failed_and_error(action: dict[str, Any], results: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "o")
    code, pairs, summary = run(
        action, results, tmp_path, baseline="fp32.json", candidate="bad one.json", strict="true", output_folder=out
    )
    assert (code, pairs["verdict"], pairs["exit-code"]) == (4, "failed", "4") and "**too far**" in summary
    code, pairs, _ = run(
        action, results, tmp_path, baseline="fp32.json", candidate="near.json", footprint="fp.json", max_ram="1K",
        output_folder=out,
    )  # fmt: skip
    assert (code, pairs["verdict"]) == (3, "failed")
    code, pairs, summary = run(action, results, tmp_path, baseline="fp32.json", candidate="none", output_folder=out)
    assert (code, pairs["verdict"], summary) == (2, "error", "")
    assert not Path(pairs["json"]).exists()  # nothing of the run before is left to be taken for this one's


def test_names_are_data_not_commands(action: dict[str, Any], results: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    name = f"$(touch {trap}); `touch {trap}`.json"
    code, pairs, _ = run(action, results, tmp_path, baseline=name, candidate="near.json", output_folder=str(tmp_path))
    assert (code, pairs["verdict"]) == (2, "error") and not trap.exists()


def test_the_install_step_installs_what_is_named(action: dict[str, Any], tmp_path: Path) -> None:
    """With a `python` that writes down its arguments in the place of pip."""
    fake = tmp_path / "python"
    fake.write_text('#!/bin/bash\nprintf "%s\\n" "$@" > "$0.log"\n')
    fake.chmod(0o755)
    install = step(action, "install")
    for given, wanted in (("action", str(ROOT)), ("edgeai==9.9", "edgeai==9.9")):
        environment = {name: filled(value, {"install": given}, action) for name, value in install["env"].items()}
        path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
        subprocess.run(["bash", "-eo", "pipefail", "-c", install["run"]], check=True, env={**environment, "PATH": path})
        assert (tmp_path / "python.log").read_text().split("\n")[:-1] == ["-m", "pip", "install", "--quiet", wanted]


def test_the_example_workflow_fits_the_action(action: dict[str, Any]) -> None:
    text = (ROOT / "docs" / "gate.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", text, re.S)
    workflow = next(loaded for block in blocks if "jobs" in (loaded := yaml.safe_load(block)))
    steps = [entry for job in workflow["jobs"].values() for entry in job["steps"]]
    gates = [entry for entry in steps if "edgeai@" in entry.get("uses", "") or entry.get("uses") == "./"]
    assert gates and all(set(entry["with"]) <= set(action["inputs"]) for entry in gates)
