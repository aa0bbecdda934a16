"""The c_info, memory-pool and profile files: virtual pools, versions nobody knows, damage, and the files we write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeai.board import load_board
from edgeai.errors import EdgeAIError, InputError
from edgeai.stedgeai.c_info import read_c_info
from edgeai.stedgeai.memory import joins, pool_table
from edgeai.stedgeai.mpool import (
    check_profile,
    differences,
    mcu_pool_file,
    pool_file,
    profile_file,
    read_pool_file,
    read_profiles,
)
from edgeai.stedgeai.read import read_compiled, read_texts
from edgeai.stedgeai.text import clean, find_version, read_text, segments, size

GRAEFE = "stedgeai/AlexGraefe__STM32N6Example/st_ai_output/network_c_info.json"
POOLS = "stedgeai/STMicroelectronics__STM32N6-GettingStarted-ObjectDetection/Model/my_mpools"


@pytest.fixture
def body(kit: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((kit / GRAEFE).read_text())
    return found


def written(body: dict[str, Any], folder: Path) -> Path:
    path = folder / "network_c_info.json"
    path.write_text(json.dumps(body))
    return path


def test_a_virtual_pool_is_never_added_to_its_members(body: dict[str, Any], tmp_path: Path) -> None:
    """The joined pool says 2,211,840 bytes are used; its members together use 245,760."""
    found = read_c_info(written(body, tmp_path))
    assert sum(pool.activations for pool in found.pools) == 245760
    assert "cpuRAM2_npuRAM3_npuRAM4_npuRAM5_npuRAM6" not in {pool.name for pool in found.pools}
    for entry in body["memory_pools"]:  # a version that neither flags it nor lists its members
        entry["subpools"] = []
        entry.pop("virtual", None)
    assert read_c_info(written(body, tmp_path)).pools == found.pools


def test_pools_in_the_text_that_join_others_are_left_out() -> None:
    row = "\t{}    [0x{:08X} - 0x{:08X}]:    100.000 kB /    448.000 kB  ( 22.32 % used) -- weights:          0  B " \
          "(  0.00 % used)  activations:    100.000 kB ( 22.32 % used)"  # fmt: skip
    lines = [row.format("npuRAM3", 0x34200000, 0x34270000), row.format("npuRAM4", 0x34270000, 0x342E0000),
             row.format("npuRAM3_npuRAM4", 0x34200000, 0x342E0000)]  # fmt: skip
    table = pool_table(lines)
    assert table is not None and [pool.name for pool in table.pools] == ["npuRAM3", "npuRAM4"]
    assert joins("ram_a_ram_b", ["ram_a", "ram_b"]) and not joins("ram_a", ["ram", "ram_a"])


def test_constants_in_ram_are_weights(body: dict[str, Any], tmp_path: Path) -> None:
    """10,000 bytes of constants moved from flash into npuRAM6 by way of the virtual pool."""
    pools = {pool["name"]: pool for pool in body["memory_pools"]}
    buffer = next(b for b in body["buffers"] if b["is_param"])
    virtual = pools["cpuRAM2_npuRAM3_npuRAM4_npuRAM5_npuRAM6"]
    buffer["mpool_id"], buffer["size_bytes"] = virtual["id"], 10_000
    buffer["offset_start"] = int(pools["npuRAM6"]["address"]) - int(virtual["address"])
    pools["npuRAM6"]["used_size_bytes"] = 10_000
    pools["octoFlash"]["used_size_bytes"] -= 10_000
    found = {pool.name: pool for pool in read_c_info(written(body, tmp_path)).pools}
    assert (found["npuRAM6"].weights, found["npuRAM6"].activations) == (10_000, 0)


def test_totals_that_do_not_add_up_are_named(body: dict[str, Any], tmp_path: Path) -> None:
    next(p for p in body["memory_pools"] if p["name"] == "npuRAM4")["used_size_bytes"] = 4096
    found = read_c_info(written(body, tmp_path))
    assert any("249,856 bytes of activations, the compiler says 245,760" in gap for gap in found.gaps)


def test_an_unknown_schema_is_named(body: dict[str, Any], tmp_path: Path) -> None:
    body["json_schema_version"] = "3.1"
    assert "c_info schema 3.1 is not known; read as 2.0" in read_c_info(written(body, tmp_path)).gaps


@pytest.mark.parametrize("lost", ["memory_footprint", "memory_pools", "graphs", "buffers", "environment"])
def test_a_missing_part_is_a_gap(body: dict[str, Any], tmp_path: Path, lost: str) -> None:
    del body[lost]
    path = written(body, tmp_path)
    found = read_compiled([path])
    assert found.weights_bytes == 212609 and found.activations_bytes == 245760 and found.gaps


@pytest.mark.parametrize(
    "hostile",
    [
        "{", "[]", "{}", "null", '{"json_schema_version": "2.0", "memory_pools": [1]}', "[" * 100_000,
        '{"json_schema_version": "2.0", "memory_footprint": {"weights": "many"}, "memory_pools": [{}]}',
        '{"json_schema_version": "2.0", "environment": {"tools": [{"version": 3}]}, "graphs": [{"nodes": [{}]}]}',
    ],
)  # fmt: skip
def test_hostile_c_info(tmp_path: Path, hostile: str) -> None:
    path = tmp_path / "c_info.json"
    path.write_text(hostile)
    with pytest.raises(EdgeAIError):
        read_compiled([path])


def test_an_unknown_version_is_named_and_read(kit: Path, tmp_path: Path) -> None:
    text = read_text(kit / "stedgeai/n6_reports/svogl_od_n6.txt").replace("v3.0.0-20426", "v7.1.0-30000")
    (tmp_path / "report.txt").write_text(text)
    found = read_compiled([tmp_path / "report.txt"])
    assert found.weights_bytes == 1201104 and "version 7.1.0 is not known; read as far as it goes" in found.gaps


def test_progress_bars_and_carriage_returns_do_not_hide_the_text(kit: Path) -> None:
    text = read_text(kit / "stedgeai/n6_reports/svogl_od_n6.txt")
    bar = "PASS:  92%|█████████▏| 91/99 [00:11<00:00, 12.3it/s]"
    spoilt = "\r\n".join(f"{bar}\r{line}" for line in text.splitlines())
    assert read_texts(spoilt).reports == read_texts(text).reports
    assert clean("PASS:   0%|          | 0/103 [00:00<?, ?it/s]WARNING: x is not quantized") == [
        "WARNING: x is not quantized"
    ]


@pytest.mark.parametrize(
    ("number", "unit", "count", "off"),
    [("225", "B", 225, 0), ("12.031", "kB", 12320, 1), ("3.500", "MB", 3670016, 525), ("112.000", "MB", 7 << 24, 525)],
)
def test_printed_sizes(number: str, unit: str, count: int, off: int) -> None:
    assert (size(number, unit).count, size(number, unit).resolution) == (count, off)


def test_versions_and_commands() -> None:
    found = find_version("C:\\ST\\stedgeai.exe ST Edge AI Core v4.0.1-20581 7ed50de05")
    assert found is not None and (found.number, found.build, found.commit) == ((4, 0, 1), "20581", "7ed50de05")
    parts = segments("ST Edge AI Core v2.2.0-20266 2adc00962\nelapsed time (generate): 1.5s\n"
                     ">>> stedgeai validate -m x\nST Edge AI Core v2.2.0-20266 2adc00962\n")  # fmt: skip
    assert [(part.command, part.elapsed_s) for part in parts] == [("generate", 1.5), ("validate", None)]


# --- the files we write ---------------------------------------------------------------------------


def test_our_pool_file_has_the_memories_of_st_s(kit: Path, tmp_path: Path) -> None:
    """Same names, addresses, speeds and powers as ST's own file; sizes are those of the stock layout (boards.md)."""
    ours, theirs = tmp_path / "ours.mpool", kit / POOLS / "stm32n6-app2_STM32N6570-DK.mpool"
    ours.write_text(pool_file(load_board("stm32n6")))
    mine = {e["name"]: e for e in json.loads(ours.read_text())["memory"]["mempools"]}
    other = {e["name"]: e for e in json.loads(theirs.read_text())["memory"]["mempools"]}
    assert set(mine) == set(other)
    for name, entry in mine.items():
        assert entry["fname"] == other[name]["fname"] and entry["prop"] == other[name]["prop"], name
    sizes = {pool.name: pool.size for pool in read_pool_file(ours)}
    stock = {"cpuRAM1": 0, "flexMEM": 0, "cpuRAM2": 1 << 20, "octoFlash": 112 << 20, "hyperRAM": 32 << 20}
    assert sizes == {**dict.fromkeys(("npuRAM3", "npuRAM4", "npuRAM5", "npuRAM6"), 448 << 10), **stock}
    assert json.loads(ours.read_text())["memory"]["cacheinfo"] == json.loads(theirs.read_text())["memory"]["cacheinfo"]
    assert json.loads(ours.read_text())["params"] == json.loads(theirs.read_text())["params"]


def test_a_board_without_external_ram_gets_no_such_pool() -> None:
    names = {e["name"] for e in json.loads(pool_file(load_board("nucleo-n657x0-q")))["memory"]["mempools"]}
    assert "hyperRAM" not in names and "octoFlash" in names


def test_mcu_pools() -> None:
    text = mcu_pool_file(load_board("stm32h7"))
    assert text is not None
    assert [e["name"] for e in json.loads(text)["memory"]["mempools"]][:2] == ["AXIRAM", "DTCMRAM"]


def test_profiles_with_comments_and_own_ones(kit: Path, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('// a comment\n{"Profiles": {"mine": {"memory_pool": "./a.mpool", "options": "-O3 http://x"}}}')
    assert read_profiles(tmp_path / "p.json")[0].options == "-O3 http://x"
    (tmp_path / "a.mpool").write_text(pool_file(load_board("stm32n6")))
    assert check_profile(f"mine@{tmp_path / 'p.json'}")[0] == "mine"
    for bad, words in (("mine", "names no file"), (f"other@{tmp_path / 'p.json'}", "no profile 'other'")):
        with pytest.raises(InputError, match=words):
            check_profile(bad)
    (tmp_path / "a.mpool").write_text("{}")
    with pytest.raises(InputError, match="no memory-pool file"):
        check_profile(f"mine@{tmp_path / 'p.json'}")
    assert "O3" in json.dumps(profile_file(options="-O3"))


def test_pools_beyond_the_board_are_named(kit: Path) -> None:
    pools = read_pool_file(kit / POOLS / "stm32n6-app2_STM32N6570-DK.mpool")
    assert "hyperRAM: not a memory of NUCLEO-N657X0-Q" in differences(pools, load_board("nucleo-n657x0-q"))
