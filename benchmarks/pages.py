"""Pages of Markdown from templates."""

from pathlib import Path
from typing import Any

import jinja2


def render(path: Path, **names: Any) -> str:
    """The text of a template, with what it may name; functions are filters too."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(path.parent),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: x for name, x in names.items() if callable(x)}
    return environment.get_template(path.name).render(**names).rstrip() + "\n"


def sections(text: str) -> dict[str, str]:
    """The text below each heading `## name`."""
    parts = [part.partition("\n") for part in f"\n{text}".split("\n## ")[1:]]
    return {name.strip(): below.strip() for name, _, below in parts}
