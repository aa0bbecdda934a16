"""Errors point to a section of the troubleshooting page, and the sections are there."""

import re
from pathlib import Path

import pytest
from helpers import edgeai, refused

import edgeai as edgeai_package
from edgeai.cli import HELP_PAGE
from edgeai.cli.troubleshooting import page, sections
from edgeai.errors import AccuracyError, BudgetError, DeviceError, InputError, ToolError


def test_every_kind_of_error_has_a_section():
    found = sections(page())
    assert {kind.exit_code for kind in (BudgetError, AccuracyError, ToolError, DeviceError)} == set(HELP_PAGE)
    assert set(HELP_PAGE.values()) <= set(found)
    assert all(found[name].count("\n| ") > 4 for name in HELP_PAGE.values())


def test_the_messages_of_the_page_are_those_of_the_program():
    sources = "\n".join(path.read_text() for path in Path(edgeai_package.__file__).parent.rglob("*.py"))
    joined = re.sub(r'"\s*\n\s*f?"', "", sources)  # strings over several lines
    found = sections(page())
    messages = [
        message
        for name in ("input", "tool", "device")
        for row in re.findall(r"^\| (`.*?) \|", found[name], re.MULTILINE)
        for message in re.findall(r"`([^`]+)`", row)
    ]
    assert len(messages) > 30
    for message in messages:
        fixed = max(re.split(r"\.\.\.|\bN\b|\bM\b", message), key=len).strip(" :")
        assert fixed in joined, message


@pytest.mark.parametrize(("kind", "link"), [(ToolError, "#tool"), (DeviceError, "#device"), (InputError, "")])
def test_an_error_names_its_section(kind, link, monkeypatch, capsys):
    def fail():
        raise kind("it broke", "mend it")

    monkeypatch.setattr("edgeai.cli.status.status", fail)
    outcome = edgeai(capsys)
    refused(outcome, kind.exit_code, "edgeai: it broke", "hint: mend it")
    assert outcome.err.count("more: docs/troubleshooting.md") == bool(link)
    assert link in outcome.err


def test_a_section_is_shown_and_an_unknown_one_refused(capsys):
    shown = edgeai(capsys, "troubleshooting", "tool")
    assert shown.code == 0
    assert shown.out.startswith("## tool") and "## device" not in shown.out
    assert "is not installed`" in shown.out
    whole = edgeai(capsys, "troubleshooting").out
    assert "# When something goes wrong" in whole and "`docs/sweeps.md`" in whole
    assert max(map(len, whole.splitlines())) <= 80 and "|" not in whole.replace("DIR|LIST", "")
    refused(edgeai(capsys, "troubleshooting", "tools"), 2, "there is no section 'tools'", "budget, accuracy, tool")
