"""Facts that have one home: in how many places the product states each (`python tests/one_home.py [CHECKOUT]`)."""

from __future__ import annotations

import re
import sys
from pathlib import Path

PRODUCT = ("f2pnet", "models", "training", "export", "pipeline")
FACTS = {
    "a frame id taken apart or put together": (
        r'split\("/", 2\)|rsplit\("/"|frame_id\.split',
        r"\{\w*\.?camera_id\}/\{\w*\.?run_id\}/\{",
    ),
    "fields of a stream entry written": (r"""["']verdict["'],\s*\w+(\.\w+)*\.value""",),
    "a page of a stream asked for": (r'\["XRANGE",[^\]]*f?"\(', r'"XREVRANGE" if '),
    "publish.redis compared with embedded": (r'redis [!=]= ("embedded"|EMBEDDED_REDIS)',),
    "an embedded Redis found for a line": (r"find_embedded\(\w+(\.\w+)*\.embedded_redis_dir\) if",),
    "format to backend": (r'\{"onnx": "onnxruntime"',),
    "a fault made": (r"[^se] Fault\(", r"=Fault\(", r"\(Fault\(", r"return Fault\("),
    "a timer of repeated work": (
        r"self\._\w*_(at|due|after)_s = (0\.0|(time\.monotonic\(\)|now_s) \+ \w+_S)",
        r"next_\w+_s = now_s \+",
    ),
    "a camera read from the name of a worker": (
        r'(removeprefix|startswith)\("ingest-"\)',
        r'name\.partition\("-"\)',
    ),
    "the reference of an export as a special case": (r"kind == REFERENCE",),
}


def homes(root: Path, patterns: tuple[str, ...]) -> list[str]:
    """file:line of every place."""
    found = []
    for path in (path for package in PRODUCT for path in sorted((root / package).rglob("*.py"))):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search("|".join(patterns), line):
                found.append(f"{path.relative_to(root)}:{number}")
    return found


def main() -> None:
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1]
    for fact, patterns in FACTS.items():
        found = homes(root, patterns)
        sys.stdout.write(f"{len(found):3}  {fact}: {', '.join(found)}\n")


if __name__ == "__main__":
    main()
