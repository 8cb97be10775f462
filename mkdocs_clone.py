"""Files of the clone that the pages link to come along in the built site, below `clone/`; mkdocs calls this.

Without it a link that leads out of docs/ would be right in the clone and dead on the site.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

LINK = re.compile(r"(?<=\]\()\.\./([^)\s#]+)")
FOLDER = "clone"


def on_files(files: Files, config: Any) -> Files:
    """Add every file that a page links to."""
    root = Path(config.config_file_path).parent
    linked = {path for page in files.documentation_pages() for path in LINK.findall(page.content_string)}
    for path in sorted(path for path in linked if (root / path).is_file()):
        files.append(File.generated(config, _on_site(path), abs_src_path=str(root / path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead the links there."""
    return LINK.sub(lambda match: _on_site(match[1]), markdown)


def _on_site(path: str) -> str:
    """Return where a file is: pages become pages, anything else a text that a browser shows."""
    return f"{FOLDER}/{path}" + ("" if path.endswith(".md") else ".txt")
