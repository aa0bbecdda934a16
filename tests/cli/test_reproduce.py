"""The commands that card and report print run as printed, and make the same files again."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import pytest
from helpers import kit_path
from sandbox import Sandbox

pytest.importorskip("torch", reason="a run quantises")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return Sandbox(tmp_path_factory.mktemp("again"), kit_path())


def printed(folder: Path, report: str, card: str) -> list[str]:
    """The lines of both documents, each once."""
    page = re.search(r'aria-label="Commands"[^>]*><code>(.*?)</code>', (folder / report).read_text(), re.S)
    block = re.findall(r"```\n(edgeai .*?)\n```", (folder / card).read_text(), re.S)
    assert page is not None and block
    lines = [*html.unescape(page[1]).splitlines(), *block[-1].splitlines()]
    assert all(line.startswith("edgeai ") for line in lines)
    return list(dict.fromkeys(lines))


def files_of(record: Path) -> list[str]:
    body = json.loads(record.read_text())
    return [made["file"]["sha256"] for made in body["quantized"]] + [body["results"][0]["model"]["sha256"]]


RUNS = [
    pytest.param(("edgeai.toml",), "edgeai run", "runs/best", id="project"),
    pytest.param(
        (),
        "edgeai run best.pt --imgsz 64 --calibration 'my photos' --limit 3 --seed 7 --images val/images --eval-limit 5 "
        "--annotations val/instances.json --board stm32n6 --board stm32mp2 --layout concat --max-drop 100 "
        "--output-type float32 --out 'out here'",
        "out here",
        id="options",
    ),
]


@pytest.mark.parametrize(("more", "command", "out"), RUNS)
def test_a_run_is_made_again(sandbox: Sandbox, tmp_path: Path, more: tuple[str, ...], command: str, out: str) -> None:
    folder = tmp_path / "work"
    sandbox.copy(folder, ("best.pt", "photos", "val", *more))
    shutil.copytree(folder / "photos", folder / "my photos")
    target = json.dumps(out)
    for line in (command, f"edgeai report {target} -o r.html", f"edgeai card {target} --licence MIT -o c.md"):
        done = sandbox.run(line, folder)
        assert done.returncode == 0, done.stderr
    before = files_of(folder / out / "run.json")
    lines = printed(folder, "r.html", "c.md")
    assert [line.split()[1] for line in lines] == ["run", "report", "card"]
    first = (folder / "c.md").read_text()
    for name in (out, "r.html", "c.md", *more):  # what the project file said is in the line
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for line in lines:
        done = sandbox.run(line, folder)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert files_of(folder / out / "run.json") == before
    assert (folder / "r.html").is_file() and (folder / "c.md").read_text() == first


def test_a_file_alone(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    sandbox.copy(folder, ("model.tflite", "n6.csv"))
    (folder / "sub dir").mkdir()
    (folder / "model.tflite").rename(folder / "sub dir" / "a_256.tflite")
    (folder / "n6.csv").rename(folder / "sub dir" / "n6.csv")
    for line in (
        "edgeai report 'sub dir/a_256.tflite' --board stm32n6 -o r.html",
        "edgeai card 'sub dir/a_256.tflite' --board stm32n6 --measurements 'sub dir/n6.csv' -o c.md",
    ):
        assert sandbox.run(line, folder).returncode == 0
    lines = printed(folder, "r.html", "c.md")
    assert [line.split()[1] for line in lines] == ["inspect", "footprint", "report", "card"]
    first = (folder / "c.md").read_text()
    for line in lines:
        done = sandbox.run(line, folder)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert (folder / "c.md").read_text() == first
