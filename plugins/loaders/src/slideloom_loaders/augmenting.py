"""Augmentation of tiles: flips, rotations, blur, JPEG, and staining; seed, epoch and tile decide what happens."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self

import numpy as np
from attrs import frozen
from slideloom.base.errors import ConfigError
from slideloom.base.geometry import Rgb
from slideloom.settings.options import did_you_mean
from slideloom_cohort.serving import tile_stores

_WORDS = {"flip": "xy", "rotate": "r", "blur": "b", "jpeg": "j", "stain": "n"}
_LETTERS = "xyrjbn"
_USUAL = "xyrjb"
BLUR_SIGMA = (0.4, 1.6)  # pixels
JPEG_QUALITY = (50, 100)


@frozen
class Augmentation:
    """What may happen to a tile.

    Attributes:
        flip_x: half of the time, mirror it left to right.
        flip_y: half of the time, mirror it top to bottom.
        rotate: rotate it by 0, 90, 180 or 270 degrees.
        blur: half of the time, blur it with a sigma of 0.4 to 1.6 pixels.
        jpeg: half of the time, compress it with a quality of 50 to 100.
        stain: give it a random staining.
    """

    flip_x: bool = False
    flip_y: bool = False
    rotate: bool = False
    blur: bool = False
    jpeg: bool = False
    stain: bool = False

    @classmethod
    def parse(cls, given: str | Sequence[str] | bool | None) -> Self:
        """The augmentation that words ("flip, rotate, blur, jpeg, stain", or a list) or letters ("xyrjbn") describe.

        True is all but staining ("xyrjb"), as in Slideflow.

        Raises:
            ConfigError: a word or letter is unknown.
        """
        letters: set[str] = set(_USUAL if given is True else "")
        text = "" if not given or given is True else given if isinstance(given, str) else ",".join(map(str, given))
        for word in re.split(r"[,\s]+", text.strip()):
            if word in _WORDS:
                letters |= set(_WORDS[word])
            elif word and set(word) <= set(_LETTERS):
                letters |= set(word)
            elif word:
                raise ConfigError(
                    f"augment: '{word}' is not known{did_you_mean(word, list(_WORDS))}; or letters of xyrjbn"
                )
        return cls(*(letter in letters for letter in ("x", "y", "r", "b", "j", "n")))

    @property
    def is_plain(self) -> bool:
        """True if at most the staining is augmented."""
        return not (self.flip_x or self.flip_y or self.rotate or self.blur or self.jpeg)

    def apply(self, rgb: Rgb, *, seed: int, epoch: int, index: int, is_mask: bool = False) -> Rgb:
        """The tile after flips, rotation, blur and JPEG (not staining): a view or a new array, (H, W, 3) uint8.

        Of a mask (H, W), only flips and rotation: the same as those of its tile.
        """
        if self.is_plain:
            return rgb
        # Always the same number of draws, so that one more option does not change the others.
        draws = np.random.default_rng([seed, epoch, index]).random(7)
        if self.flip_x and draws[0] < 0.5:
            rgb = rgb[:, ::-1]
        if self.flip_y and draws[1] < 0.5:
            rgb = rgb[::-1]
        if self.rotate:
            rgb = np.rot90(rgb, int(draws[2] * 4))
        if is_mask:
            return rgb
        if self.blur and draws[3] < 0.5:
            low, high = BLUR_SIGMA
            rgb = blurred(rgb, low + (high - low) * float(draws[4]))
        if self.jpeg and draws[5] < 0.5:
            worst, best = JPEG_QUALITY
            rgb = tile_stores().recompressed(rgb, round(worst + (best - worst) * float(draws[6])))
        return rgb


def blurred(rgb: Rgb, sigma: float) -> Rgb:
    """The tile convolved with a Gaussian of `sigma` pixels, with mirrored edges: (H, W, 3) uint8."""
    reach = max(1, int(np.ceil(3 * sigma)))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).astype(np.float32)
    kernel /= kernel.sum()
    values = np.pad(rgb, ((reach, reach), (reach, reach), (0, 0)), mode="reflect").astype(np.float32)
    height, width = rgb.shape[:2]
    rows = sum(weight * values[i : i + height] for i, weight in enumerate(kernel.tolist()))
    both = sum(weight * np.asarray(rows)[:, i : i + width] for i, weight in enumerate(kernel.tolist()))
    rounded: Rgb = np.rint(np.asarray(both)).astype(np.uint8)
    return rounded
