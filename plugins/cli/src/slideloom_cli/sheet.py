"""A contact sheet: pictures of slides under different settings, side by side, as HTML or as one PNG."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen
from slideloom.base.addresses import local_path
from slideloom.base.errors import ConfigError
from slideloom.base.storing import make_room, storing_in, utf8, write_whole
from slideloom.drawing.pictures import LEGEND, Picture

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --muted: #777; }
body { font: 14px/1.45 system-ui, sans-serif; margin: 1.5rem; }
h1 { font-size: 1.2rem; margin: 0 0 .75rem; }
table { border-collapse: collapse; }
th, td { border-bottom: 1px solid var(--line); padding: .5rem .75rem .75rem 0; text-align: left; vertical-align: top; }
thead th { position: sticky; top: 0; background: Canvas; font-weight: 600; }
th[scope=row] { font-weight: 600; min-width: 7rem; max-width: 14rem; overflow-wrap: anywhere; }
img { display: block; margin-bottom: .4rem; }
small { color: var(--muted); display: block; font-weight: 400; }
.failed { color: #c0392b; overflow-wrap: anywhere; }
ul { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1rem; padding: 0; }
.swatch { display: inline-block; width: .8em; height: .8em; margin-right: .35em; border: 1px solid var(--line); }
"""
_MADE_BY_HTML = '<meta name="generator" content="slideloom preview">'
_MADE_BY_PNG = b"Software\0slideloom preview"
# Pixels between the cells of the PNG, and the sizes of its letters.
_GAP, _TEXT, _TITLE = 16, 14, 17


@frozen
class Cell:
    """One picture of a slide.

    Attributes:
        picture: a picture of any size.
        count: how much was kept, in words.
        note: more text, or "".
    """

    picture: Picture
    count: str
    note: str = ""


@frozen
class Row:
    """One slide under each of the settings.

    Attributes:
        slide: name of the slide.
        note: text about the slide that holds for all cells.
        cells: one per column; empty if there was an error.
        error: why there are no cells, or "".
    """

    slide: str
    note: str = ""
    cells: tuple[Cell, ...] = ()
    error: str = ""


@frozen
class ContactSheet:
    """Slides under different settings. A notebook shows it, and `save` writes it to a file.

    Attributes:
        title: what is compared.
        columns: the settings, as written on the command line.
        rows: one per slide.
        legend: the meaning of the colours.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...] = field(repr=lambda rows: f"{len(rows)} slides")
    legend: Mapping[str, str] = field(factory=dict)

    def html(self) -> str:
        """The sheet as an HTML page that needs no other files and no network."""
        head = "".join(f'<th scope="col">{escape(column)}</th>' for column in self.columns)
        body = "".join(self._html_row(row) for row in self.rows)
        swatches = "".join(
            f'<li><span class="swatch" style="background:rgb{LEGEND[key]}"></span>{escape(text)}</li>'
            for key, text in self.legend.items()
        )
        return (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">{_MADE_BY_HTML}'
            f"<title>{escape(self.title)}</title>"
            f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
            f"<h1>{escape(self.title)}</h1><ul>{swatches}</ul>"
            f'<table><thead><tr><th scope="col">slide</th>{head}</tr></thead><tbody>{body}</tbody></table>'
            "</body></html>\n"
        )

    def _html_row(self, row: Row) -> str:
        if row.error:
            what = f'<td class="failed" colspan="{len(self.columns)}">{escape(row.error)}</td>'
        else:
            what = "".join(
                f'<td><img alt="{escape(row.slide)}, {escape(column)}" width="{cell.picture.shape[1]}" '
                f'src="data:image/png;base64,{b64encode(cell.picture.png()).decode()}">{escape(cell.count)}'
                f"<small>{escape(cell.note)}</small></td>"
                for column, cell in zip(self.columns, row.cells, strict=True)
            )
        return f'<tr><th scope="row">{escape(row.slide)}<small>{escape(row.note)}</small></th>{what}</tr>'

    def picture(self) -> Picture:
        """The sheet as one picture."""
        from PIL import Image, ImageDraw, ImageFont  # only a PNG needs it

        text, title = ImageFont.load_default(_TEXT), ImageFont.load_default(_TITLE)
        shapes = [cell.picture.shape for row in self.rows for cell in row.cells]
        width = max([shape[1] for shape in shapes], default=320)
        heights = [
            max([cell.picture.shape[0] for cell in row.cells], default=0) + 5 * _TEXT + 2 * _GAP for row in self.rows
        ]
        top = _TITLE * 2 + _GAP + (_TEXT * 2 if self.legend else 0) + _TEXT * 2
        sheet = Image.new("RGB", ((width + _GAP) * max(1, len(self.columns)) + _GAP, top + sum(heights)), "white")
        draw = ImageDraw.Draw(sheet)

        def write(words: str, x: float, y: float, *, font: Any = text, fill: str = "black", room: float) -> None:
            while words and draw.textlength(words, font) > room:
                words = words[:-2] + "…" if len(words) > 2 else ""
            draw.text((x, y), words, fill=fill, font=font)

        write(self.title, _GAP, _GAP, font=title, room=sheet.width - 2 * _GAP)
        x = float(_GAP)
        for key, words in self.legend.items():
            y = _GAP + _TITLE * 2
            draw.rectangle((x, y, x + _TEXT, y + _TEXT), fill=LEGEND[key], outline="black")
            write(words, x + _TEXT + 6, y - 1, room=sheet.width)
            x += _TEXT + 24 + draw.textlength(words, text)
        for index, column in enumerate(self.columns):
            write(column, _GAP + index * (width + _GAP), top - _TEXT * 2, font=title, room=width)
        for row, height in zip(self.rows, heights, strict=True):
            draw.line((_GAP, top + 4, sheet.width - _GAP, top + 4), fill="#bbb")
            heading = f"{row.slide}   {row.note}" if row.note else row.slide
            write(heading, _GAP, top + _GAP - 2, fill="#444", room=sheet.width - 2 * _GAP)
            if row.error:
                write(row.error, _GAP, top + _GAP + 2 * _TEXT, fill="#b00", room=sheet.width - 2 * _GAP)
            for index, cell in enumerate(row.cells):
                left, high = _GAP + index * (width + _GAP), top + _GAP + _TEXT + 8
                sheet.paste(Image.fromarray(np.asarray(cell.picture.rgb)), (left, high))
                below = high + cell.picture.shape[0] + 4
                write(cell.count, left, below, room=width)
                write(cell.note, left, below + _TEXT + 4, fill="#666", room=width)
            top += height
        return Picture(np.array(sheet))

    def save(self, path: Path | str) -> None:
        """Write it as HTML or PNG, depending on the extension. The file appears complete or not at all.

        Raises:
            ConfigError: the extension is another one.
            OutputError: the file cannot be written, or another program made it.
        """
        path = local_path(path)
        content = utf8(self.html()) if sheet_kind(path) == ".html" else self._png()
        with storing_in(path.parent):
            make_room(path, _is_ours)
            write_whole(path, content)

    def _png(self) -> bytes:
        from PIL import Image
        from PIL.PngImagePlugin import PngInfo

        about, file = PngInfo(), BytesIO()
        about.add_text("Software", "slideloom preview")
        Image.fromarray(self.picture().rgb).save(file, "PNG", pnginfo=about)
        return file.getvalue()

    def _repr_html_(self) -> str:
        return self.html()


def _is_ours(content: bytes) -> bool:
    return utf8(_MADE_BY_HTML) in content[:4096] or _MADE_BY_PNG in content[:4096]


def sheet_kind(path: Path) -> str:
    """The extension of a sheet's file name, ".html" or ".png".

    Raises:
        ConfigError: the extension is another one.
    """
    kind = path.suffix.lower()
    if kind not in (".html", ".png"):
        raise ConfigError(f"{path}: the name of a contact sheet must end in .html or .png")
    return kind
