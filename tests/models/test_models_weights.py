"""Our safetensors files: exact, deterministic, readable by the safetensors package, and refused when damaged."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from edgeai.artifacts import FloatModel, from_json  # noqa: E402
from edgeai.cli import main  # noqa: E402
from edgeai.errors import InputError  # noqa: E402
from edgeai.files import sha256_file  # noqa: E402
from edgeai.models import build, load_model  # noqa: E402
from edgeai.models.load import import_model  # noqa: E402
from edgeai.models.weights import SPEC_KEY, save_weights  # noqa: E402


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network as our file."""
    torch.manual_seed(0)
    network, spec = build("yolov8n", names=("person", "Fußgänger"))
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    save_weights(network.state_dict(), spec, path)
    return path


def parts(path: Path) -> tuple[dict[str, Any], bytes]:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def put(path: Path, header: object, body: bytes) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def test_round_trip_is_exact_and_deterministic(saved: Path, tmp_path: Path) -> None:
    network, spec = load_model(saved)
    assert spec.names == ("person", "Fußgänger") and not network.training
    again = import_model(saved, tmp_path / "again.safetensors")
    assert sha256_file(saved) == again.weights.sha256 == again.source.sha256
    assert again.parameters == sum(p.numel() for p in network.parameters())
    half = import_model(saved, tmp_path / "half.safetensors", half=True)
    assert half.weights.bytes < 0.51 * again.weights.bytes
    loaded, _ = load_model(tmp_path / "half.safetensors")
    for ours, theirs in zip(network.parameters(), loaded.parameters(), strict=True):
        assert torch.equal(ours.half().float(), theirs)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.safetensors", "half.safetensors"]


def test_the_safetensors_package_reads_it(saved: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    network, _ = load_model(saved)
    tensors = safetensors.load_file(str(saved))
    state = {k: v for k, v in network.state_dict().items() if not k.endswith("num_batches_tracked")}
    assert set(tensors) == set(state)
    assert all(torch.equal(tensors[key], state[key]) for key in state)


def test_values_beyond_fp16_are_refused(tmp_path: Path) -> None:
    network, spec = build("yolov8n", nc=1)
    network.model[0].bn.running_var.fill_(1e6)
    with pytest.raises(InputError, match=r"model\.0\.bn\.running_var does not fit into fp16"):
        save_weights(network.state_dict(), spec, tmp_path / "big.safetensors", half=True)
    assert not list(tmp_path.iterdir())


def test_damaged_files(saved: Path, tmp_path: Path) -> None:
    header, body = parts(saved)
    bad = tmp_path / "bad.safetensors"
    name = next(key for key in header if key != "__metadata__")
    spec = json.loads(header["__metadata__"][SPEC_KEY])

    def refused(says: str) -> None:
        with pytest.raises(InputError, match=says) as caught:
            load_model(bad)
        assert "\n" not in caught.value.message

    for size in (0, 5, 100, len(body) // 2):
        bad.write_bytes(saved.read_bytes()[:size])
        refused("cut short|header")
    bad.write_bytes(saved.read_bytes() + b"x")
    refused("cut short")
    bad.write_bytes((1 << 62).to_bytes(8, "little") + b"{}")
    refused("cut short")
    put(bad, [1], b"")
    refused("not an object")
    bad.write_bytes((100_000).to_bytes(8, "little") + b"[" * 100_000)
    refused("not JSON")
    put(bad, {k: v for k, v in header.items() if k != "__metadata__"}, body)
    refused("which network")
    put(bad, {**header, "__metadata__": {SPEC_KEY: json.dumps({**spec, "name": "yolov9t"})}}, body)
    refused("no network is called 'yolov9t'")
    put(bad, {**header, "__metadata__": {SPEC_KEY: json.dumps({**spec, "scale": "s"})}}, body)
    refused("contradicts itself")
    put(bad, {**header, "__metadata__": {SPEC_KEY: json.dumps({**spec, "colour": 1})}}, body)
    refused("unknown key 'colour'")
    for change in (
        {"dtype": "BF16"},
        {"shape": [-1]},
        {"shape": [2**40]},
        {"data_offsets": [4, 8]},
        {"data_offsets": 3},
    ):
        put(bad, {**header, name: {**header[name], **change}}, body)
        refused("net|bad")
    put(bad, {**header, name: None}, body)
    refused("")


def test_nan_in_the_file(saved: Path, tmp_path: Path) -> None:
    header, body = parts(saved)
    with pytest.raises(InputError, match="not a number"):
        load_model(put(tmp_path / "nan.safetensors", header, b"\xff" * 4 + body[4:]))


def test_fuzzed_files(saved: Path, tmp_path: Path) -> None:
    """Changes in the header end in an InputError or change nothing that matters."""
    rng = random.Random(0)
    data = saved.read_bytes()
    length = int.from_bytes(data[:8], "little")
    for _ in range(60):
        out = bytearray(data)
        out[rng.randrange(8 + length)] = rng.randrange(256)
        (tmp_path / "fuzz.safetensors").write_bytes(out)
        try:
            load_model(tmp_path / "fuzz.safetensors")
        except InputError as error:
            assert "\n" not in error.message


@pytest.mark.kit
def test_import_command(kit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "net.safetensors"
    arguments = ["import", str(kit / "weights" / "yolov8n-seg.pt"), "-o", str(out), "--half"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--json"])
    assert stop.value.code == 0
    first = from_json(FloatModel, capsys.readouterr().out)
    assert first.weights.sha256 == sha256_file(out)
    assert first.parameters == 3_409_952
    with pytest.raises(SystemExit):
        main(arguments)
    text = capsys.readouterr().out
    assert "yolov8n-seg" in text and "AGPL-3.0" in text and "80 (person, bicycle" in text
    assert first.weights.sha256 == sha256_file(out)
    ours, spec = load_model(out)
    theirs, original = load_model(kit / "weights" / "yolov8n-seg.pt")
    assert spec == original  # the checkpoint is fp16, so that nothing is lost
    assert all(torch.equal(a, b) for a, b in zip(ours.parameters(), theirs.parameters(), strict=True))


def test_import_writes_safetensors_only(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["import", str(saved), "-o", str(tmp_path / "net.pt")])
    assert stop.value.code == 2
    assert "does not end in .safetensors" in capsys.readouterr().err
