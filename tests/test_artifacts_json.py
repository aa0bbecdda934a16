"""Artifacts survive JSON, and JSON that is not one is refused by name."""

from __future__ import annotations

import json

import pytest

from edgeai.artifacts import Contract, ModelSpec, OutputRole, Provenance, from_json, to_json
from edgeai.errors import InputError

SPEC = ModelSpec("yolov8n-seg", "yolov8", "segment", "n", ("person", "dög"), anchors=((1.0, 2.0), (3.0, 4.0)))
CONTRACT = Contract(SPEC, "concat", 256, (OutputRole(0, "pred"), OutputRole(1, "proto")), 256.0, 8.0)


def test_round_trip() -> None:
    assert from_json(Contract, to_json(CONTRACT)) == CONTRACT


def test_same_artifact_same_bytes() -> None:
    assert to_json(CONTRACT) == to_json(from_json(Contract, to_json(CONTRACT)))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layout": "banana"}, "banana"),
        ({"imgsz": "256"}, "imgsz"),
        ({"imgsz": True}, "imgsz"),
        ({"roles": {}}, "roles"),
        ({"roles": [{"index": 0}]}, "kind"),
        ({"layuot": "raw"}, "layuot"),
        ({"artifact": "EvalResult"}, "EvalResult"),
    ],
)
def test_wrong_content_is_named(change: dict[str, object], words: str) -> None:
    body = {**json.loads(to_json(CONTRACT)), **change}
    with pytest.raises(InputError, match=words):
        from_json(Contract, json.dumps(body), "c.json")


@pytest.mark.parametrize("text", ["", "[1]", "{", "null", "[" * 100_000])
def test_not_an_artifact(text: str) -> None:
    with pytest.raises(InputError, match=r"c\.json"):
        from_json(Provenance, text, "c.json")


def test_a_typo_gets_its_nearest_key() -> None:
    with pytest.raises(InputError) as caught:
        from_json(Provenance, json.dumps({"stage": "x", "optons": []}))
    assert "options" in caught.value.hint
