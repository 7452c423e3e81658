"""Which images are levels."""

from __future__ import annotations

from slideloom import Size
from slideloom_vips.levels import Stored, levels_among


def stored(width: int, height: int, *, page: int = 0, bands: int = 3, is_tiled: bool = True) -> Stored:
    return Stored((("page", page),), Size(width, height), bands, "uchar", is_tiled)


def test_levels_are_the_largest_image_made_smaller() -> None:
    """As Aperio stores them: level, thumbnail in strips, levels, label and macro."""
    images = [
        stored(46000, 32914, page=0),
        stored(1024, 732, page=1, is_tiled=False),
        stored(11500, 8228, page=2),
        stored(2875, 2057, page=3),
        stored(387, 463, page=4, is_tiled=False),
        stored(1280, 431, page=5, is_tiled=False),
    ]

    assert [level.options[0][1] for level in levels_among(images)] == [0, 2, 3]


def test_other_proportions_channels_and_repeats_are_no_levels() -> None:
    images = [stored(4000, 3000, page=i) for i in range(3)] + [
        stored(2000, 1400, page=3),
        stored(2000, 1500, page=4, bands=1),
        stored(1000, 750, page=5),
    ]

    assert [level.options[0][1] for level in levels_among(images)] == [0, 5]


def test_the_last_levels_are_found_although_rounding_bends_their_proportions() -> None:
    images = [stored(8877 >> i, 11861 >> i, page=i) for i in range(12)]  # the last is 4 x 5 pixels

    assert len(levels_among(images)) == 12
