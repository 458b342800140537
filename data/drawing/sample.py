"""A sample: an image file and the truth about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drawing.page import Page

JPEG_QUALITY = 82


@dataclass(frozen=True)
class Sample:
    """One image file and the truth about it; `options` go to Pillow's JPEG encoder."""

    name: str
    kind: str
    page: Page
    fields: dict[str, Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def truth(self) -> dict[str, Any]:
        """The row of `truth.jsonl`."""
        row: dict[str, Any] = {"image": self.name, "kind": self.kind, "text_lines": self.page.lines}
        return row if self.fields is None else row | {"fields": self.fields}

    def save(self, folder: Path) -> None:
        """Write the image file."""
        target = folder / self.name
        if target.suffix == ".png":
            self.page.image.save(target, optimize=True)
        else:
            self.page.image.save(target, **({"quality": JPEG_QUALITY} | self.options))
