"""Reading YOLO data sets: the forms of a data.yaml, label lines, and what is said of those that are wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeai.artifacts import Count
from edgeai.errors import InputError
from edgeai.evaluate.data_yaml import parse_yaml
from edgeai.evaluate.flaws import remarks
from edgeai.evaluate.ground_truth import read_dataset
from edgeai.evaluate.yolo import read_yolo

SIDE = 100


def picture(path: Path, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((SIDE, 2 * SIDE, 3), value, np.uint8))


def label(path: Path, text: str = "0 0.5 0.5 0.2 0.2\n") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folders a (pictures 1 and 2) and b (3), each with its labels."""
    for part, number in (("a", 1), ("a", 2), ("b", 3)):
        picture(tmp_path / part / "images" / f"{number}.png", number)
        label(tmp_path / part / "labels" / f"{number}.txt")
    return tmp_path


def yaml(folder: Path, text: str) -> Path:
    file = folder / "data.yaml"
    file.write_bytes(text.encode())
    return file


def found(file: Path, part: str = "train") -> list[str]:
    return [image.path.name for image in read_yolo(file, part).images]


@pytest.mark.parametrize(
    ("train", "names"),
    [
        ("a/images", ["1.png", "2.png"]),
        ("[a/images, b/images]", ["1.png", "2.png", "3.png"]),
        ("\n  - a/images\n  - b/images", ["1.png", "2.png", "3.png"]),
        ("\n- 'b/images'\n- \"a/images\"  # both", ["3.png", "1.png", "2.png"]),
        ("[a/images, ./a/images]", ["1.png", "2.png"]),
        ("a\\images", ["1.png", "2.png"]),
        ("../a/images", ["1.png", "2.png"]),
        ("..\\a\\images", ["1.png", "2.png"]),
        ("[a/images/2.png, list.txt]", ["2.png", "3.png"]),
        (".", ["1.png", "2.png", "3.png"]),
    ],
)
def test_the_places_of_a_part(folder: Path, train: str, names: list[str]) -> None:
    (folder / "list.txt").write_bytes(b"\xef\xbb\xbf./b/images/3.png\r\n\r\n")
    inner = folder / "set" if train.startswith("..") else folder
    if inner != folder:  # an export's yaml lies beside its parts and says ../
        inner.mkdir()
        (folder / "a").rename(inner / "a")
    assert found(yaml(inner, f"train: {train}\nnames: [x]\n")) == names


def test_the_path_of_a_yaml(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert found(yaml(elsewhere, f"path: {folder}\ntrain: a/images\nnames: [x]\n")) == ["1.png", "2.png"]
    (folder / "sub").mkdir()
    assert found(yaml(folder / "sub", "path: ..\ntrain: b/images\nnames: [x]\n")) == ["3.png"]
    # a set that was moved keeps the path of the machine it was made on
    assert found(yaml(folder, "path: C:\\data\\set\ntrain: b\\images\nval: null\nnames: [x]\n")) == ["3.png"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("names: [ 'person', 'bicycle',\n   'car', 'traffic light' ]\n", ("person", "bicycle", "car", "traffic light")),
        ("names:\n  1: dog\n  0: cat\n", ("cat", "dog")),
        ("names: {1: dog, '0': cat}\n", ("cat", "dog")),
        ("names:\n- a\n- b c  # two\n", ("a", "b c")),
        ("names:\n    - a\n    - 'b: c'\n", ("a", "b: c")),
        ("names: [no, 007, 1.50, null, on]\n", ("no", "007", "1.50", "null", "on")),
        ("all: &all [a, b]\nnames: *all\n", ("a", "b")),
        ("base: &b\n  names: [plane, ship]\n  nc: 2\n<<: *b\nval: images\n", ("plane", "ship")),
        ("base: &b {names: [plane, ship]}\n<<: *b\nnames: [ship, plane]\n", ("ship", "plane")),
        ("a: &a {names: [a]}\nb: &b {names: [b], nc: 1}\n<<: [*a, *b]\n", ("a",)),
        ("b: &b {0: ship}\nnames: {<<: *b, 1: plane}\n", ("ship", "plane")),
        ("nc: 3\n", ("class0", "class1", "class2")),
        ("nc: 2\nnames: [a, b]\n", ("a", "b")),
        ('{"names": ["a", "b"], "nc": 2}\n', ("a", "b")),
        ("\ufeffnames: [a]\r\nnc: 1\r\n", ("a",)),
        ("--- # one document\nnames: [größe]\n", ("größe",)),
        ("train: x\n", ()),
    ],
)
def test_the_names_of_a_yaml(tmp_path: Path, text: str, names: tuple[str, ...]) -> None:
    assert parse_yaml(yaml(tmp_path, text))[1] == names


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(20)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [a, b]\nnc: 3\n", "nc is 3, and names has 2"),
        ("base: &b {nc: 3}\n<<: *b\nnames: [a, b]\n", "nc is 3, and names has 2"),
        ("<<: [a, b]\nnames: [a]\n", "names no mapping"),
        ("names: [a]\nnc: many\n", "nc is no number"),
        ("names: [a]\nnc: 0\n", "nc is no number"),
        ("names: [a]\nnc: -1\n", "nc is no number"),
        ("names: {0: a, 2: b}\n", "names has no class 1"),
        ("names: {1: a, 2: b}\n", "names has no class 0"),
        ("names: {0: a, 0: b}\n", "'0' is there twice"),
        ("names: {0: a, 00: b}\n", "names has class 0 twice"),
        ("names: {x: a}\n", "no class number: 'x'"),
        ("names: {-1: a}\n", "no class number"),
        ("names: cat\n", "names is no list"),
        ("names: [a, [b]]\n", "class 1 has no name"),
        ("names: [a, '']\n", "class 1 has no name"),
        ("names: [a]\nnames: [b]\n", "line 2 .*'names' is there twice"),
        ("names: [a\n", "is not YAML"),
        ("names:\n\t- a\n", "line 2 is not YAML"),
        ("names: [a]\n---\nnames: [b]\n", "is not YAML"),
        ("- a\n- b\n", "holds no keys"),
        ("", "holds no keys"),
        ("a: &a [*a]\n", "is not YAML"),
        ("[" * 5000, "is not YAML"),
        (f"{BOMB}names: *u\n", "class 0 has no name"),
        ("names: [a]\n#" + "x" * (1 << 20), "larger than 1 MiB"),
        ("names: !!python/object/apply:os.system ['echo pwned > pwned']\nnc: 2\n", "nc is 2, and names has 1"),
    ],
)
def test_a_yaml_that_cannot_be_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message) as error:
        parse_yaml(yaml(tmp_path, text))
    assert "\n" not in error.value.message and len(error.value.message) < 400
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("names: [x]\nval: a/images\n", "names no 'train' images"),
        ("names: [x]\ntrain:\n", "names no 'train' images"),
        ("names: [x]\ntrain: c/images\n", "c/images does not exist"),
        ("names: [x]\ntrain: [a/images, c/images]\n", "c/images does not exist"),
        ("names: [x]\ntrain: C:\\data\\images\n", "does not exist"),
        ("names: [x]\ntrain: {a: b}\n", "train is no folder"),
        ("names: [x]\ntrain: [[a/images]]\n", "train is no folder"),
        ("names: [x]\npath: [a]\ntrain: images\n", "path is no folder"),
        ("names: [x]\ntrain: a/labels\n", "holds no images"),
        ("names: [x, x]\ntrain: a/images\n", "categories 0 and 1 are both called 'x'"),
        ("names: [x]\nkpt_shape: [17, 3]\ntrain: a/images\n", "describes key points"),
    ],
)
def test_a_yaml_that_does_not_fit_its_folder(folder: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        read_yolo(yaml(folder, text))
    assert "\n" not in error.value.message


def lines(folder: Path, text: str) -> Path:
    """A set of one folder whose first picture has these label lines."""
    label(folder / "a" / "labels" / "1.txt", text)
    return yaml(folder, "train: a/images\nval: a/images\nnames: [x, y]\n")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0.5 0.5 0.1", r"1\.txt, line 2: 4 fields"),
        ("0 0.5 0.5 0.1 0.1 0.9", "6 fields"),
        ("0 0.1 0.1 0.2 0.2 0.3 0.3 0.4", "8 fields"),
        ("0", "1 fields"),
        ("x 0.5 0.5 0.1 0.1", "'x' is not a number"),
        ("0 nan 0.5 0.1 0.1", "'nan' is not a number"),
        ("0 0.5 inf 0.1 0.1", "'inf' is not a number"),
        ("0 0.5 1_0 0.1 0.1", "'1_0' is not a number"),
        ("0 0,5 0,5 0,1 0,1", "'0,5' is not a number"),
        ("0 1e400 0.5 0.1 0.1", "outside 0..1"),
        ("0 150 50 20 20", "outside 0..1"),
        ("0.5 0.5 0.5 0.1 0.1", "'0.5' is no class number"),
        ("-1 0.5 0.5 0.1 0.1", "'-1' is no class number"),
        ("2 0.5 0.5 0.1 0.1", r"1\.txt, line 2 is of class 2, and 2 classes"),
        ("99999999999 0.5 0.5 0.1 0.1", "is no class number"),
        ("0 0.5 0.5 0 0.1", r"1 box without area \(1\.txt, line 2\)"),
        ("0 0.5 0.5 0.1 -0.1", "1 box without area"),
        ("0 0.9 0.5 0.3 0.1", "1 object more than 2 px outside"),
        ("0 0.1 0.1 1.2 0.1 0.3 0.3", "1 object more than 2 px outside"),
        ("0 0.1 0.1 0.1 0.1 0.1 0.1", "1 box without area"),
    ],
)
def test_a_label_line_that_cannot_be_right(folder: Path, line: str, message: str) -> None:
    file = lines(folder, f"0 0.5 0.5 0.2 0.2\n{line}\n")
    with pytest.raises(InputError, match=message) as error:
        read_yolo(file)
    assert "\n" not in error.value.message and error.value.hint
    if "--skip-bad" in error.value.hint:
        data = read_yolo(file, skip_bad=True)
        assert len(data.objects) == 2 and remarks(data.counts)[0].startswith("left out: 1 ")


def test_label_lines_that_are_right(folder: Path) -> None:
    text = "\ufeff1.0 0.5 0.5 0.2 0.4\r\n\r\n 0\t.1 +0.1 3e-1 0.1 0.3 0.4 \r\n0 0.995 0.5 0.02 0.1"
    data = read_yolo(lines(folder, text))
    box, outline, clipped = data.objects[:3]
    assert (box.category_id, box.bbox, box.area, box.segmentation) == (1, (80.0, 30.0, 40.0, 40.0), 1600.0, "")
    assert outline.bbox == pytest.approx((20, 10, 40, 30)) and outline.area == pytest.approx(600)
    assert json.loads(outline.segmentation)[0] == pytest.approx([20, 10, 60, 10, 60, 40])
    assert clipped.bbox == pytest.approx((197, 45, 3, 10))
    assert Count("clipped", 1) in data.counts
    assert remarks(data.counts)[1:] == ["label files that mix outlines and boxes (1.txt): 1"]


def test_pictures_without_objects_and_labels_without_pictures(folder: Path) -> None:
    file = lines(folder, "")
    (folder / "a" / "labels" / "2.txt").unlink()
    with pytest.raises(InputError, match="no label files") as error:
        (folder / "a" / "labels" / "1.txt").unlink()
        read_yolo(file)
    assert "1.txt" in error.value.hint
    label(folder / "a" / "labels" / "1.txt")
    data = read_yolo(file)
    assert len(data.images) == 2 and remarks(data.counts) == ["images without a label file: 1"]
    for name in ("classes.txt", "._1.txt", "9.txt"):
        label(folder / "a" / "labels" / name)
    with pytest.raises(InputError, match=r"1 annotation of an unlisted image \(labels/9\.txt\)"):
        read_yolo(file)
    assert "left out: 1 annotation of an unlisted image" in remarks(read_yolo(file, skip_bad=True).counts)
    (folder / "one.txt").write_text("a/images/1.png\n")  # a list takes what it takes
    assert found(yaml(folder, "train: one.txt\nnames: [x]\n")) == ["1.png"]
    picture(folder / "a" / "images" / "1.jpg")
    with pytest.raises(InputError, match=r"1\.jpg and 1\.png have one label file"):
        read_yolo(lines(folder, ""))


def test_hidden_files_are_no_pictures_and_broken_ones_are_named(folder: Path) -> None:
    file = lines(folder, "0 0.5 0.5 0.2 0.2\n")
    for name in ("._1.png", ".hidden/4.png", "sub/._2.png"):
        (folder / "a" / "images" / name).parent.mkdir(exist_ok=True)
        (folder / "a" / "images" / name).write_bytes(b"\0\5\x16\7")
    assert found(file) == ["1.png", "2.png"]
    (folder / "a" / "images" / "2.png").write_bytes(b"")
    with pytest.raises(InputError, match=r"1 unreadable picture \(2\.png\)"):
        read_yolo(file)
    data = read_yolo(file, skip_bad=True)
    assert [image.path.name for image in data.images] == ["1.png"] and len(data.objects) == 1


def test_one_reader_for_evaluation_and_training(folder: Path) -> None:
    file = lines(folder, "0 0.5 0.5 0.2 0.2\n")
    data = read_dataset(None, file)
    assert data.name.endswith("/val") and len(data.images) == 2
    assert len(read_dataset(None, file, limit=1).images) == 1
    with pytest.raises(InputError, match="names its own images"):
        read_dataset(folder / "a" / "images", file)


@pytest.mark.parametrize("make", [lambda f: f / "none.yaml", lambda f: f / "a" / "images"])
def test_no_yolo_set(folder: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(InputError, match=r"does not exist|holds no images|no label files"):
        read_yolo(make(folder))
