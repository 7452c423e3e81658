"""The large slides that benchmarks read: a small real slide, or the demo tissue, as a mirrored mosaic."""

from __future__ import annotations

import os
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Any

SOURCE = "cmu-1-small-region.svs"
SOURCE_PX = (2220, 2967)
MPP, POWER, QUALITY, TILE_PX = 0.499, 20, 75, 256
ROOT = Path(__file__).resolve().parents[1]


def source_image() -> tuple[str, Any]:  # Any: a pyvips image; pyvips has no types
    """Name and pixels of what mosaics are made of: the real slide of the test data, else the demo tissue."""
    import pyvips

    named = os.environ.get("SLIDELOOM_TEST_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    path = folder / SOURCE
    if path.is_file():
        image = pyvips.Image.new_from_file(str(path), access="random")
        return SOURCE, image.flatten(background=[255, 255, 255]) if image.bands == 4 else image
    return "demo tissue", _demo_tissue()


def _demo_tissue() -> Any:
    """A part of the demo slide of the real slide's size, so that mosaics have the same size."""
    import tempfile

    import pyvips
    from slideloom import Point, Size, open_slide
    from slideloom_testing import write_demo_slide

    with tempfile.TemporaryDirectory() as folder:
        write_demo_slide(Path(folder) / "demo.svs")
        with open_slide(Path(folder) / "demo.svs") as slide:
            size = slide.info.size
            origin = Point((size.width - SOURCE_PX[0]) // 2, (size.height - SOURCE_PX[1]) // 2)
            return pyvips.Image.new_from_array(slide.read(origin, 0, Size(*SOURCE_PX)))


def write_mosaic(path: Path, *, columns: int, rows: int, keep: Collection[int] = ()) -> str:
    """Write an Aperio-style SVS: the source mirrored into a seamless block of 2 x 2, and that repeated.

    Args:
        path: of the slide; a slide that is there already is left as it is.
        columns, rows: of the mosaic, in blocks.
        keep: downsamples of the pyramid's levels that stay, as scanners write 1, 4, 16; all if empty.

    Returns:
        The name of the source.
    """
    name, image = source_image()
    if path.exists():
        return name
    import pyvips

    top = image.join(image.fliphor(), "horizontal")
    block = top.join(top.flipver(), "vertical").copy_memory()
    big = block.replicate(columns, rows).copy()
    size = f"{big.width}x{big.height}"
    big.set_type(
        pyvips.GValue.gstr_type,
        "image-description",
        f"Aperio Image Library v11.2.1\r\n{size} [0,0 {size}] ({TILE_PX}x{TILE_PX}) JPEG/RGB Q={QUALITY}"
        f"|AppMag = {POWER}|MPP = {MPP}|Title = mosaic",
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    big.tiffsave(
        str(partial), tile=True, tile_width=TILE_PX, tile_height=TILE_PX, pyramid=True,
        compression="jpeg", Q=QUALITY, bigtiff=True, depth="onetile",
    )  # fmt: skip
    if keep:
        keep_levels(partial, keep)
    partial.replace(path)
    return name


def keep_levels(path: Path, downsamples: Collection[int]) -> None:
    """Relink the chain of directories of a BigTIFF so that only the levels 2**i in `downsamples` are reached."""
    from slideloom_formats.tiff import read_tiff_directories

    kept = [directory for number, directory in enumerate(read_tiff_directories(path)) if 2**number in downsamples]
    with path.open("r+b") as file:
        for here, there in zip(kept, [*kept[1:], None], strict=True):
            file.seek(here.next_at)
            file.write(struct.pack(here.order + "Q", 0 if there is None else there.at))
