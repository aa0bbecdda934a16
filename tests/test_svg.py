"""Pieces of pictures: what a name brings along cannot break the file."""

from xml.etree import ElementTree

from edgeai.imaging import svg


def test_any_text_gives_a_well_formed_file():
    hostile = 'a</text><script>alert("x")</script>&\x00\x1b[31m'
    parts = [
        svg.text(1, 2, hostile, "middle", 11, "#557"),
        svg.rect(0, 0, 0, -3, "#88aacc", 0.5),
        svg.line(0, 0, 1, 1, svg.PALE, "3 2"),
        svg.polyline([(0, 0), (1, 2)], svg.INK, 1.5, "4 3"),
        svg.circle(1, 1, 2, svg.INK, 0.25, ring=True, title=hostile),
    ]
    root = ElementTree.fromstring(svg.document(100, 50, parts))
    names = [element.tag.rpartition("}")[2] for element in root]
    assert names == ["rect", "text", "rect", "line", "polyline", "circle"]
    assert root[1].text == 'a</text><script>alert("x")</script>&??[31m'
    assert root[5][0].text == root[1].text
    assert float(root[2].get("width")) > 0 and float(root[2].get("height")) == 0
