"""Put a generated file between `<!-- NAME -->` and `<!-- /NAME -->` of a document: tables are made, never typed."""

from __future__ import annotations

import re
import sys
from pathlib import Path


def main(document: Path, name: str, source: Path) -> None:
    text = document.read_text(encoding="utf-8")
    pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    if not pattern.search(text):
        sys.exit(f"{document} has no section {name}")
    body = source.read_text(encoding="utf-8")
    document.write_text(pattern.sub(lambda match: match[1] + body + match[2], text), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
