"""What the site does beside `mkdocs`: links to files outside of docs/ lead to them in the repository."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"\]\(((?:\.\./)+[^)#\s]+|[\w./-]+/)(#[^)]*)?\)")


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Rewrite links that the site has no page for, and refuse those that lead nowhere."""
    folder = Path(page.file.abs_src_path).parent

    def rewritten(match: re.Match[str]) -> str:
        target = (folder / match[1]).resolve()
        if not target.exists():
            raise ValueError(f"{page.file.src_path}: no file {match[1]}")
        if target.is_relative_to(ROOT / "docs") and target.is_file():
            return match[0]
        place = target.relative_to(ROOT)
        return f"]({config['repo_url']}/blob/main/{place})" if config["repo_url"] else "]"

    return _LINK.sub(rewritten, markdown)
