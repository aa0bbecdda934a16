"""Board profiles: the ones we bring, and what a typing error in one looks like."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeai.board import all_boards, load_board, read_board
from edgeai.errors import InputError

MINIMAL = """
name = "My Board"
aliases = ["mine"]
family = "STM32H7"
[cpu]
core = "Cortex-M7"
source = "me"
[toolchain]
target = "stm32h7"
source = "me"
[connection]
source = "me"
[[pools]]
name = "sram"
kind = "ram"
size_kib = 512
users = ["activations", "weights"]
source = "me"
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_n6_facts() -> None:
    board = load_board("STM32N6")
    assert board.name == "STM32N6570-DK" and board is load_board("stm32n6570-dk")
    internal = board.pools_for("activations", "ram")
    assert sum(pool.size for pool in internal) == 2_883_584  # what the stock pool file offers on chip
    assert {p.name: p.address for p in internal}["cpuRAM2"] == 0x34100000
    flash = board.pools_for("weights", "flash")
    assert [(p.name, p.size, p.address, p.read_only) for p in flash] == [("octoFlash", 112 << 20, 0x71000000, True)]
    assert board.connection.baud == 921600 and board.toolchain.options == ("--st-neural-art",)


def test_mp2_facts() -> None:
    board = load_board("stm32mp2")
    assert board.name == "STM32MP257F-EV1" and board.toolchain.target == "stm32mp25" and board.cpu.cores == 2


def test_every_fact_has_a_source() -> None:
    for board in all_boards():
        parts = [board.cpu, board.toolchain, board.connection, *board.pools]
        parts += [board.accelerator] if board.accelerator else []
        assert all(part.source for part in parts), board.name


def test_unknown_board_names_the_nearest() -> None:
    with pytest.raises(InputError) as caught:
        load_board("stm32n66")
    assert "stm32n66" in caught.value.message and "stm32n6" in caught.value.hint
    with pytest.raises(InputError) as caught:
        load_board("zzz")
    assert "STM32N6570-DK" in caught.value.hint


def test_own_folder_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path, MINIMAL)
    assert load_board(str(path)).pools[0].size == 512 * 1024
    monkeypatch.setenv("EDGEAI_BOARDS", str(tmp_path))
    assert load_board("MINE").name == "My Board"
    assert load_board("stm32n6").name == "STM32N6570-DK"
    written(tmp_path, MINIMAL.replace('"mine"', '"stm32n6"'))
    assert load_board("stm32n6").name == "My Board"
    monkeypatch.setenv("EDGEAI_BOARDS", str(tmp_path / "none"))
    with pytest.raises(InputError, match="EDGEAI_BOARDS"):
        load_board("stm32n6")


@pytest.mark.parametrize(
    ("old", "new", "message", "hint"),
    [
        ("size_kib = 512", "size_kb = 512", "pools[0]: unknown key 'size_kb'", "size_kib"),
        ("size_kib = 512", 'size_kib = "512"', "size_kib must be a whole number, not a text", ""),
        ("size_kib = 512", "size_kib = true", "size_kib must be a whole number, not true or false", ""),
        ("size_kib = 512", "size_kib = -1", "impossible size", ""),
        ("size_kib = 512\n", "", "the key 'size_kib' is missing", ""),
        ('kind = "ram"', 'kind = "sram"', "kind is 'sram'", "external-ram"),
        ('core = "Cortex-M7"', "core = 7", "cpu: core must be a text", ""),
        ("[toolchain]", "[tolchain]", "unknown key 'tolchain'", "toolchain"),
        ('"activations", "weights"', '"weights"', "no RAM pool", ""),
        ('"activations", "weights"', '"activations"', "no pool has the user 'weights'", ""),
        ('users = ["activations", "weights"]', 'users = "activations"', "users must be a list", ""),
        ('name = "My Board"', "name = ", "is not TOML", ""),
        ('name = "My Board"', 'name = "My Board"\nfile = "x"', "unknown key 'file'", ""),
    ],
)
def test_mistakes_are_named(tmp_path: Path, old: str, new: str, message: str, hint: str) -> None:
    assert old in MINIMAL
    path = written(tmp_path, MINIMAL.replace(old, new))
    with pytest.raises(InputError) as caught:
        read_board(path)
    assert message in caught.value.message and str(path) in caught.value.message
    assert hint in caught.value.hint


def test_overlapping_pools_are_refused(tmp_path: Path) -> None:
    second = '[[pools]]\nname = "b"\nkind = "ram"\naddress = 0x1100\nsize_kib = 1\nusers = []\nsource = "me"\n'
    text = MINIMAL.replace("size_kib = 512", "size_kib = 1\naddress = 0x1000") + second
    with pytest.raises(InputError, match="overlap"):
        read_board(written(tmp_path, text))


def test_every_board_of_the_range_is_there() -> None:
    names = {board.name for board in all_boards()}
    assert names >= {
        "STM32N6570-DK", "NUCLEO-N657X0-Q", "STM32MP257F-EV1", "STM32MP257F-DK", "STM32MP235F-DK", "STM32H747I-DISCO",
        "NUCLEO-H743ZI2", "B-U585I-IOT02A", "STM32L4R9I-DISCO", "NUCLEO-L073RZ", "STM32MP157F-DK2",
    }  # fmt: skip
    labels = [label.lower() for board in all_boards() for label in (board.name, *board.aliases)]
    assert len(labels) == len(set(labels)), "an alias names two boards"


def test_profiles_match_the_schema() -> None:
    """The schema says nothing that the profiles do not hold to."""
    import tomllib

    from edgeai.board import schema

    def check(found: dict[str, object], value: object, where: str) -> None:
        kind = found.get("type")
        if "enum" in found:
            assert value in found["enum"], where  # type: ignore[operator]
        elif kind == "object":
            assert isinstance(value, dict)
            known = found["properties"]
            assert isinstance(known, dict) and set(value) <= set(known), where
            assert set(found["required"]) <= set(value), where  # type: ignore[call-overload]
            for key, item in value.items():
                check(known[key], item, f"{where}.{key}")
        elif kind == "array":
            assert isinstance(value, list)
            for item in value:
                check(found["items"], item, where)  # type: ignore[arg-type]

    for path in (Path(__file__).resolve().parent.parent / "boards").glob("*.toml"):
        check(schema(), tomllib.loads(path.read_text()), path.name)


def test_profiles_of_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    import edgeai.board

    package = tmp_path / "acme_boards"
    package.mkdir()
    (package / "__init__.py").write_text("")
    written(package, MINIMAL)
    monkeypatch.syspath_prepend(tmp_path)
    entry = importlib.metadata.EntryPoint("acme", "acme_boards", "edgeai.boards")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [entry] if group == "edgeai.boards" else [])
    edgeai.board._announced.cache_clear()
    try:
        assert load_board("mine").name == "My Board"
        gone = importlib.metadata.EntryPoint("acme", "not_there_at_all", "edgeai.boards")
        monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [gone])
        edgeai.board._announced.cache_clear()
        with pytest.raises(InputError, match="'acme'"):
            load_board("mine")
    finally:
        edgeai.board._announced.cache_clear()
