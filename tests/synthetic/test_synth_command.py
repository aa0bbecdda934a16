"""`edgeai synth` writes the splits that were asked for."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from edgeai.cli import cli


def test_writes_the_splits_that_were_asked_for(tmp_path: Path) -> None:
    arguments = ["synth", str(tmp_path / "set"), "--train", "3", "--val", "2", "--calibration", "0", "--seed", "5"]
    result = CliRunner().invoke(cli, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert [(row["split"], row["images"], row["seed"]) for row in rows] == [("train", 3, 5), ("val", 2, 5)]
    assert sorted(path.name for path in (tmp_path / "set").iterdir()) == ["train", "val"]


def test_prints_a_table(tmp_path: Path) -> None:
    result = CliRunner().invoke(cli, ["synth", str(tmp_path), "--train", "0", "--val", "1", "--calibration", "0"])
    assert result.exit_code == 0, result.output
    assert "val" in result.stdout
    assert "train" not in result.stdout
