"""A few items as HTML for a notebook, in whose colours and type they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vision_pipeline.results.pictures import Thumbnail, base64
from vision_pipeline.results.text import shown

_SHOWN_FIELDS = 6
_SHOWN_CHARS = 160
_SHOWN_IMAGES = 3
_LINE = "1px solid rgba(128,128,128,.25)"
_SHEET = "display:grid;grid-template-columns:repeat(auto-fill,minmax(220px,1fr));gap:14px"
_CARD = f"border:{_LINE};border-radius:10px;overflow:hidden;font-size:13px;line-height:1.5"
_PICTURES = "display:flex;gap:1px;height:165px;background:rgba(128,128,128,.1)"
_IMAGE = "flex:1;min-width:0;width:0;height:100%;margin:0;object-fit:contain"
_WHY = "flex:1;align-self:center;padding:12px;text-align:center;opacity:.65"
_NAME = "overflow:hidden;text-overflow:ellipsis;white-space:nowrap;opacity:.65"


def contact_sheet(
    rows: Sequence[Mapping[str, Any]],
    *,
    fields: Sequence[str],
    images: Sequence[Sequence[Thumbnail]],
    items: int,
    failed: int,
) -> str:
    """Images beside answers or errors, with all text escaped.

    Args:
        rows: Those to show.
        fields: Names of the columns that are not the pipeline's own.
        images: Of each row.
        items: How many there are in all.
        failed: How many of them are errors.
    """
    cards = "".join(
        _card(row, fields, pictures) for row, pictures in zip(rows, images, strict=True)
    )
    more = items - len(rows)
    foot = f"<p>… and {more:,} more: <code>.load()</code> has them all</p>" if more else ""
    head = f"<p><b>{items:,} items</b>: {items - failed:,} answered, {failed:,} errors</p>"
    return f'<div>{head}<div style="{_SHEET}">{cards}</div>{foot}</div>'


def _card(row: Mapping[str, Any], fields: Sequence[str], pictures: Sequence[Thumbnail]) -> str:
    images = "".join(_picture(picture) for picture in pictures[:_SHOWN_IMAGES])
    if row["status"] == "ok":
        told = [(name, row[name]) for name in fields if row.get(name) is not None]
        body = "".join(
            f'<div><span style="opacity:.65">{shown(name)}</span> {_brief(value)}</div>'
            for name, value in told[:_SHOWN_FIELDS]
        )
    else:
        code, detail = shown(row["error_code"]), _brief(row["error_detail"] or "")
        body = f'<div style="color:#c4472b;font-weight:600">{code}</div><div>{detail}</div>'
    return (
        f'<div style="{_CARD}"><div style="{_PICTURES}">{images}</div>'
        f'<div style="padding:8px 12px 12px;overflow-wrap:anywhere">'
        f'<div style="{_NAME}">{shown(row["item_id"])}</div>{body}</div></div>'
    )


def _picture(picture: Thumbnail) -> str:
    if picture.why:
        return f'<div style="{_WHY}">{_brief(picture.why)}</div>'
    return f'<img alt="" style="{_IMAGE}" src="data:image/jpeg;base64,{base64(picture.data)}">'


def _brief(value: object) -> str:
    text = str(value)
    return shown(text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…")
