"""Hostile, damaged and foreign checkpoints: one clear line, exit code 2, nothing executed, nothing written."""

from __future__ import annotations

import copyreg
import io
import pickle
import random
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from edgeai.cli import main  # noqa: E402
from edgeai.errors import InputError  # noqa: E402
from edgeai.models import load_model  # noqa: E402
from edgeai.models.unpickle import Checkpoint, load_tree  # noqa: E402

ORDERED = b"ccollections\nOrderedDict\n"
STORAGE = b"((S'storage'\nctorch\nFloatStorage\nS'0'\nS'cpu'\nI%d\ntQ"
TENSOR = b"ctorch._utils\n_rebuild_tensor_v2\n" + STORAGE + b"I%d\n%s%sI00\n" + ORDERED + b")RtR."


def short(text: str) -> bytes:
    return b"\x8c" + bytes([len(text)]) + text.encode()


def stack_global(module: str, name: str) -> bytes:
    return short(module) + short(name) + b"\x93"


def calling(command: str) -> dict[str, tuple[bytes, str]]:
    """Pickles that would run `command`, and what the refusal must name."""
    text = f"S'{command}'\n".encode()
    four = b"\x80\x04"
    return {
        "reduce": (b"cposix\nsystem\n(" + text + b"tR.", "posix.system"),
        "os": (b"cos\nsystem\n(" + text + b"tR.", "os.system"),
        "stack_global": (four + stack_global("nt", "system") + short(command) + b"\x85R.", "nt.system"),
        "inst": (b"(" + text + b"isubprocess\nPopen\n.", "subprocess.Popen"),
        "obj": (b"(cposix\npopen\n" + text + b"o.", "posix.popen"),
        "newobj": (b"\x80\x02csubprocess\nPopen\n(" + text + b"t\x81.", "subprocess.Popen"),
        "eval": (b"cbuiltins\neval\n(S'__import__(\"os\")'\ntR.", "builtins.eval"),
        "exec": (b"c__builtin__\nexec\n(S'pass'\ntR.", "__builtin__.exec"),
        "import": (b"c__builtin__\n__import__\n(S'os'\ntR.", "__builtin__.__import__"),
        "pickle_in_pickle": (b"c_pickle\nloads\n(S'x'\ntR.", "_pickle.loads"),
        "torch_load": (b"ctorch\nload\n(S'x'\ntR.", "torch.load"),
        "load_from_bytes": (b"ctorch.storage\n_load_from_bytes\n(S'x'\ntR.", "torch.storage._load_from_bytes"),
        "runpy": (b"crunpy\n_run_code\n(S'x'\ntR.", "runpy._run_code"),
        "attrgetter": (b"coperator\nattrgetter\n(S'system'\ntR.", "operator.attrgetter"),
        "dotted": (four + stack_global("collections", "OrderedDict.__init__.__globals__") + b".", "__globals__"),
        "dotted_builtin": (four + stack_global("builtins", "getattr.__self__.eval") + b".", "eval"),
        "getattr_chain": (b"c__builtin__\ngetattr\n(cposix\n__dict__\nS'system'\ntR(" + text + b"tR.", "posix"),
        "nested_late": (b"(dS'model'\n(lcposix\nsystem\n(" + text + b"tRas.", "posix.system"),
        "hidden_by_pop": (b"cposix\nsystem\n(" + text + b"tR0N.", "posix.system"),
        "line_break": (four + short("a\nb") + short("c\x1b[2J") + b"\x93.", "a\\nb"),
        "extension": (b"\x80\x02\x82\x01.", "EXT1"),
        "persid": (b"Pposix\n.", "PERSID"),
    }


INERT = {
    "getattr_then_call": b"c__builtin__\ngetattr\n(" + ORDERED + b"S'__init__'\ntR(tR.",
    "state_for_a_class": ORDERED + b"(dS'__setstate__'\nN sb.".replace(b" ", b""),
    "setstate_by_build": ORDERED + b")R(dS'__setstate__'\nI1\nsbI1\nb.",
    "copied_dictionary": ORDERED + b"((lI1\nI2\natR.",
    "no_such_memo": b"\x80\x02h\x05.",
    "huge_memo": b"\x80\x02]r\xff\xff\xff\x7f.",
    "negative_memo": b"]p-1\n.",
    "huge_long": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "huge_text_long": b"L" + b"9" * 50_000 + b"L\n.",
    "huge_bytes": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 50) + b".",
    "huge_unicode": b"\x80\x04\x8d" + struct.pack("<Q", 1 << 62) + b".",
    "huge_bytearray": b"\x80\x05\x96" + struct.pack("<Q", 1 << 50) + b".",
    "huge_frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 50) + b".",
    "deep_tuples": b"})" + b"\x85" * 200_000 + b"Ns.",
    "deep_lists": b"(" * 200_000 + b"l" * 200_000 + b".",
    "unhashable_key": b"}]Ns.",
    "wide_tuple": b"(" + b"N" * 100_000 + b"t.",
    "only_a_mark": b"(.",
    "empty": b"",
    "no_stop": b"N",
    "unknown_opcode": b"\xff.",
    "storage_of_no_kind": b"((S'storage'\n" + ORDERED + b"S'0'\nS'cpu'\nI4\ntQ.",
    "storage_outside": b"((S'storage'\nctorch\nFloatStorage\nS'../../x'\nS'cpu'\nI4\ntQ.",
    "storage_negative": STORAGE % -4 + b".",
    "storage_state": STORAGE % 4 + b"(lS'9'\naS'x'\naI1\nab.",
    "not_a_model": b"(dS'model'\nI1\ns.",
}


@pytest.mark.parametrize("kind", sorted(calling("x")))
def test_calls_are_refused_by_name(kind: str, zip_pickle: Callable[..., Path], tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    data, named = calling(f"touch {canary}")[kind]
    copyreg.add_extension("posix", "system", 1)
    try:
        with pytest.raises(InputError) as caught:
            load_model(zip_pickle(data))
    finally:
        copyreg.remove_extension("posix", "system", 1)
    assert named in caught.value.message and "\n" not in caught.value.message
    assert "\x1b" not in caught.value.message
    assert not canary.exists()


@pytest.mark.parametrize("kind", sorted(INERT))
def test_malformed_pickles_are_refused_quickly(kind: str, zip_pickle: Callable[..., Path]) -> None:
    begin = time.monotonic()
    with pytest.raises(InputError) as caught:
        load_model(zip_pickle(INERT[kind], {"0": bytes(16)}))
    assert "\n" not in caught.value.message
    assert time.monotonic() - begin < 3


@pytest.mark.parametrize(
    ("count", "offset", "size", "stride"),
    [
        (4, 0, b"(I5\nt", b"(I1\nt"),
        (4, 1, b"(I4\nt", b"(I1\nt"),
        (4, 0, b"(I2\nI2\nt", b"(I3\nI1\nt"),
        (4, 0, b"(I2\nt", b"(I-1\nt"),
        (4, -1, b"(I2\nt", b"(I1\nt"),
        (4, 0, b"(I-2\nt", b"(I1\nt"),
        (4, 0, b"(I2\nt", b"(I1\nI1\nt"),
        (4, 0, b"(I1000000000000\nt", b"(I0\nt"),
        (8, 0, b"(I4\nt", b"(I1\nt"),
        (4, 0, b"(F2.0\nt", b"(I1\nt"),
        (1 << 39, 0, b"(I4\nt", b"(I1\nt"),
        (4, 0, b"(" + b"I1\n" * 9 + b"t", b"(" + b"I1\n" * 9 + b"t"),
    ],
)
def test_tensors_stay_inside_their_storage(
    count: int, offset: int, size: bytes, stride: bytes, zip_pickle: Callable[..., Path]
) -> None:
    path = zip_pickle(TENSOR % (count, offset, size, stride), {"0": bytes(16)})
    with Checkpoint(path) as checkpoint, pytest.raises(InputError):
        checkpoint.tensor(checkpoint.tree, "weight")


def test_a_proper_tensor_is_read(zip_pickle: Callable[..., Path]) -> None:
    path = zip_pickle(TENSOR % (4, 1, b"(I3\nt", b"(I1\nt"), {"0": struct.pack("<4f", 1, 2, 3, 4)})
    with Checkpoint(path) as checkpoint:
        assert checkpoint.tensor(checkpoint.tree, "weight").tolist() == [2.0, 3.0, 4.0]


def fails(path: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of `edgeai import` of a file it must refuse with exit code 2, leaving nothing behind."""
    out = path.parent / "out" / "out.safetensors"
    with pytest.raises(SystemExit) as stop:
        main(["import", str(path), "-o", str(out)])
    assert stop.value.code == 2
    assert not out.parent.exists()
    captured = capsys.readouterr()
    assert not captured.out
    return captured.err.splitlines()


@pytest.mark.kit
def test_kit_hostile(kit: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "hostile.pt"
    path.write_bytes((kit / "weights" / "hostile.pt").read_bytes())
    assert fails(path, capfd) == ["edgeai: hostile.pt names posix.system, which no checkpoint needs; refused"]


@pytest.mark.kit
def test_kit_truncated(kit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "cut.pt"
    path.write_bytes((kit / "weights" / "yolov8n-seg-truncated.pt").read_bytes())
    lines = fails(path, capsys)
    assert lines[0] == "edgeai: cut.pt is cut short: the zip directory at its end is missing"
    assert len(lines) == 2


@pytest.mark.kit
def test_kit_official_pickle_is_allowed(kit: Path) -> None:
    """The truncated file's data.pkl is whole, and is an official one: its 27 globals must all be known."""
    data = (kit / "weights" / "yolov8n-seg-truncated.pt").read_bytes()
    name, extra = struct.unpack("<HH", data[26:30])
    begin = 30 + name + extra
    end = data.index(b"PK\x07\x08", begin) if b"PK\x07\x08" in data else data.index(b"PK\x03\x04", begin)
    tree = load_tree(data[begin:end], "official")
    assert isinstance(tree, dict) and "train_args" in tree


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n",
            "is a Git LFS pointer, not the weights",
        ),
        (b"<!DOCTYPE html><html></html>", "is a web page"),
        (pickle.dumps({"model": 1}, protocol=2), "is a bare pickle"),
        (b"hello", "is not a torch checkpoint"),
        (b"PK\x03\x04" + bytes(200), "is cut short"),
    ],
)
def test_files_of_other_kinds(content: bytes, says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "other.pt"
    path.write_bytes(content)
    lines = fails(path, capsys)
    assert lines[0].startswith(f"edgeai: other.pt {says}")
    assert lines[1].startswith("  hint: ")


def test_paths_that_are_no_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "does not exist" in fails(tmp_path / "none.pt", capsys)[0]
    (tmp_path / "folder.pt").mkdir()
    assert "is a folder" in fails(tmp_path / "folder.pt", capsys)[0]
    (tmp_path / "net.onnx").write_bytes(b"x")
    lines = fails(tmp_path / "net.onnx", capsys)
    assert "ONNX" in lines[0] and "quantize" in lines[1]


def make_zip(path: Path, entries: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        ({"readme.txt": b"x"}, "no data.pkl"),
        ({"a/data.pkl": b"N.", "b/data.pkl": b"N."}, "no data.pkl"),
        ({"a/data.pkl": b"N.", "a/constants.pkl": b"N."}, "TorchScript"),
        ({"a/data.pkl": b"N.", "a/byteorder": b"big"}, "big-endian"),
        ({"a/data.pkl": b"N."}, "holds no model"),
    ],
)
def test_zips_of_other_kinds(entries: dict[str, bytes], says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        load_model(make_zip(tmp_path / "other.pt", entries))


def test_zip_bombs(tmp_path: Path) -> None:
    bomb = make_zip(tmp_path / "bomb.pt", {"a/data.pkl": bytes(40 << 20)}, zipfile.ZIP_DEFLATED)
    assert bomb.stat().st_size < 100_000
    with pytest.raises(InputError, match="claims 41943040 bytes"):
        load_model(bomb)
    make_zip(bomb, {"a/data.pkl": bytes(15 << 20)}, zipfile.ZIP_LZMA)
    with pytest.raises(InputError, match="zip bomb"):
        load_model(bomb)


def small_checkpoint() -> bytes:
    """A real but tiny checkpoint: every step of the reader runs, and ends in 'not a network edgeai builds'."""
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.SiLU())
    content = {"model": model, "ema": None, "license": "AGPL-3.0", "train_args": {"imgsz": 320}, "epoch": -1}
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def mutated(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        place = rng.randrange(len(out))
        kind = rng.randrange(4)
        if kind == 0:
            out[place] = rng.randrange(256)
        elif kind == 1:
            del out[place : place + rng.randrange(1, 20)]
        elif kind == 2:
            out[place:place] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 8)))
        else:
            other = rng.randrange(len(out))
            out[place:place] = out[other : other + rng.randrange(1, 60)]
        if not out:
            return b"N"
    return bytes(out)


def test_fuzzed_pickles_give_an_input_error_or_a_model(tmp_path: Path) -> None:
    rng = random.Random(0)
    with zipfile.ZipFile(io.BytesIO(small_checkpoint())) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    key = next(name for name in entries if name.endswith("data.pkl"))
    original = entries[key]
    outcomes: set[str] = set()
    for _ in range(300):
        make_zip(tmp_path / "fuzz.pt", {**entries, key: mutated(original, rng)})
        with pytest.raises(InputError) as caught:
            load_model(tmp_path / "fuzz.pt")
        assert "\n" not in caught.value.message
        outcomes.add(caught.value.message.split("(")[0])
    assert len(outcomes) > 5


def test_fuzzed_zips_give_an_input_error_or_a_model(tmp_path: Path) -> None:
    rng = random.Random(1)
    original = small_checkpoint()
    for _ in range(300):
        (tmp_path / "fuzz.pt").write_bytes(mutated(original, rng))
        with pytest.raises(InputError):
            load_model(tmp_path / "fuzz.pt")
