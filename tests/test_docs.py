"""Links between pages lead somewhere, every page is in the index, and the workflows run what `make` runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers import edgeai

from edgeai.cli.run_table import ACCURACY, MEMORY, NARROW
from edgeai.cli.sweep import HEADER

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = page.parent / name if name else page
        assert file.exists(), f"{page.name}: {target}"
        assert not anchor or anchor in anchors(file), f"{page.name}: {target}"


def test_every_page_is_in_the_index() -> None:
    index = (ROOT / "docs/README.md").read_text()
    missing = [page.name for page in (ROOT / "docs").glob("*.md") if page.name not in index]
    assert missing in ([], ["README.md"])


def test_the_workflows_are_sound_and_run_the_same_as_a_developer() -> None:
    yaml = pytest.importorskip("yaml")
    workflows = {path.name: yaml.safe_load(path.read_text()) for path in (ROOT / ".github/workflows").glob("*.yml")}
    steps = [step for step in workflows["ci.yml"]["jobs"]["test"]["steps"] if "run" in step]
    assert any(step["run"] == "bash .ci/run" for step in steps)
    assert "make test" in (ROOT / ".ci/run").read_text()
    (use,) = (s for s in workflows["gate-example.yml"]["jobs"]["gate"]["steps"] if s.get("uses") == "./")
    inputs = yaml.safe_load((ROOT / "action.yml").read_text())["inputs"]
    assert set(use["with"]) <= set(inputs)


def labels(text: str) -> list[str]:
    """The names in front of the figures that `edgeai footprint` prints, in order."""
    found = re.search(r"^verdict .*?^latency [^\n]*", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    return [re.split(r" {2,}", line)[0] for line in found[0].splitlines()]


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_printed_output_has_the_names_that_are_printed_now(
    kit: Path, capsys: pytest.CaptureFixture[str], page: str
) -> None:
    model = kit / "tflite/yolov8n_256_quant_pc_ii_seg_coco-st.tflite"
    printed = edgeai(capsys, "footprint", model, "--board", "stm32n6").out
    assert labels((ROOT / page).read_text()) == labels(printed)
    glossary = re.findall(r"^\| ([\w ]+?) \|", (ROOT / "docs/glossary.md").read_text(), re.MULTILINE)
    assert set(labels(printed)) - {"verdict"} <= set(glossary)


def test_tables_in_the_pages_have_the_headings_of_now() -> None:
    tutorial, readme = ((ROOT / name).read_text() for name in ("docs/tutorial.md", "README.md"))
    assert f"| {' | '.join((*ACCURACY, *MEMORY))} |" in readme
    lines = [re.split(r" {2,}", line) for line in tutorial.splitlines()]
    assert ["model", "granularity", "layout", *NARROW] in lines
    assert any(line[-len(HEADER[5:]) :] == list(HEADER[5:]) for line in lines)
