"""What mkdocs calls: pages of the repository's top folder become pages of the site."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

_ROOT = Path(__file__).parent.parent


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are not in the folder docs."""
    for name in ("CONTRIBUTING.md", "CHANGELOG.md"):
        text = (_ROOT / name).read_text().replace("](docs/", "](")  # on the site, the pages stand beside each other
        files.append(File.generated(config, name.lower(), content=text))
    return files
