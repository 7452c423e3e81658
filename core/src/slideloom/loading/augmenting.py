"""Augmentation of tiles: flips, quarter turns, blur, and staining; the same for the same seed, epoch and tile."""

from __future__ import annotations

import re
from typing import Self

import numpy as np
from attrs import frozen

from slideloom.errors import ConfigError
from slideloom.geometry import Rgb
from slideloom.settings import did_you_mean

_WORDS = {"flip": "xy", "rotate": "r", "blur": "b", "stain": "n"}
_LETTERS = "xyrbn"
_BLUR_SHARE = 0.5
_BLUR_SIGMA = (0.4, 1.6)  # pixels


@frozen
class Augmentation:
    """What may happen to a tile.

    Attributes:
        flip_x: it is mirrored left to right, half of the time.
        flip_y: it is mirrored top to bottom, half of the time.
        rotate: it is turned by 0, 90, 180 or 270 degrees.
        blur: it is blurred half of the time, with a sigma of 0.4 to 1.6 pixels.
        stain: its staining is drawn at random.
    """

    flip_x: bool = False
    flip_y: bool = False
    rotate: bool = False
    blur: bool = False
    stain: bool = False

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """The augmentation in words ("flip, rotate, stain, blur") or letters ("xyrbn").

        Raises:
            ConfigError: a word or letter is not known.
        """
        letters: set[str] = set()
        for word in re.split(r"[,\s]+", (text or "").strip()):
            if word in _WORDS:
                letters |= set(_WORDS[word])
            elif word and set(word) <= set(_LETTERS):
                letters |= set(word)
            elif word:
                raise ConfigError(
                    f"augment: '{word}' is not known{did_you_mean(word, list(_WORDS))}; or letters of xyrbn"
                )
        return cls("x" in letters, "y" in letters, "r" in letters, "b" in letters, "n" in letters)

    def apply(self, rgb: Rgb, *, seed: int, epoch: int, index: int) -> Rgb:
        """The tile mirrored, turned and blurred; staining is done elsewhere. A view or a new array."""
        if not (self.flip_x or self.flip_y or self.rotate or self.blur):
            return rgb
        # Always the same draws, so that an option more does not change the others.
        draws = np.random.default_rng([seed, epoch, index]).random(5)
        if self.flip_x and draws[0] < 0.5:
            rgb = rgb[:, ::-1]
        if self.flip_y and draws[1] < 0.5:
            rgb = rgb[::-1]
        if self.rotate:
            rgb = np.rot90(rgb, int(draws[2] * 4))
        if self.blur and draws[3] < _BLUR_SHARE:
            low, high = _BLUR_SIGMA
            rgb = blurred(rgb, low + (high - low) * float(draws[4]))
        return rgb


def blurred(rgb: Rgb, sigma: float) -> Rgb:
    """The tile convolved with a Gaussian of `sigma` pixels, mirrored at its sides: (H, W, 3) uint8."""
    reach = max(1, int(np.ceil(3 * sigma)))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).astype(np.float32)
    kernel /= kernel.sum()
    values = np.pad(rgb, ((reach, reach), (reach, reach), (0, 0)), mode="reflect").astype(np.float32)
    height, width = rgb.shape[:2]
    rows = sum(weight * values[i : i + height] for i, weight in enumerate(kernel.tolist()))
    both = sum(weight * np.asarray(rows)[:, i : i + width] for i, weight in enumerate(kernel.tolist()))
    rounded: Rgb = np.rint(np.asarray(both)).astype(np.uint8)
    return rounded
