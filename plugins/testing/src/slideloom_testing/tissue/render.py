"""Turns the layout into pixels: densities of two stains, mixed by the Beer-Lambert law, in blocks of any size."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from slideloom.base.geometry import Rgb, Size

from slideloom_testing.tissue.anatomy import GRID_UM, Layout
from slideloom_testing.tissue.nuclei import Stamps
from slideloom_testing.tissue.outlines import Field

GLASS = np.array([243.5, 243.0, 242.0], np.float32)
# Directions of optical density (natural log), unit length: haematoxylin after Ruifrok and Johnston 2001; eosin as in
# the two-stain matrices published for H&E (Macenko et al. 2009), a little redder; red cells.
_HAEMATOXYLIN = np.array([0.651, 0.701, 0.290], np.float32)
_EOSIN = np.array([0.120, 0.890, 0.440], np.float32)
_BLOOD = np.array([0.10, 0.80, 0.65], np.float32)
_INK = np.array([1.25, 0.30, 0.72], np.float32)  # density of a green marker at full strength
_TEXTURE_PX = 1024
_MARGIN_UM = 12.0  # nuclei up to this far outside a block still extend into it


class Renderer:
    """Renders any block of the slide; neighbouring blocks fit without a seam.

    Args:
        layout: what is where.
        mpp: microns per pixel.
        blur_um: radius of the disk that a point becomes in out-of-focus areas.
        seed: of the textures.
    """

    def __init__(self, layout: Layout, *, mpp: float, blur_um: float, seed: int) -> None:
        self._layout = layout
        self._mpp = mpp
        self._blur_px = blur_um / mpp
        self._stamps = Stamps(mpp, seed)
        self._nuclei = layout.nuclei

        def texture(grain_x: float, grain_y: float, number: int) -> Field:
            return _periodic_noise(grain_x / mpp, grain_y / mpp, seed * 100 + number)

        self._grain = 0.6 * texture(2.2, 2.2, 1) + 0.8 * texture(9, 9, 2)
        self._fibres = 0.75 * texture(2.6, 55, 3) + 0.65 * texture(7.5, 90, 4)
        self._streaks = texture(160, 3.5, 5)
        self._noise = np.random.default_rng(seed + 6).normal(0, 1.1, (3, _TEXTURE_PX, _TEXTURE_PX)).astype(np.float32)

    def block(self, left: int, top: int, size: Size) -> Rgb:
        """(size.height, size.width, 3) uint8 from pixel (left, top) of level 0."""
        soft = self._field(self._layout.blur, left, top, size)
        if soft.max() > 0:
            margin = int(np.ceil(self._blur_px)) + 1
            wide = self._light(left - margin, top - margin, Size(size.width + 2 * margin, size.height + 2 * margin))
            inner = (slice(None), slice(margin, margin + size.height), slice(margin, margin + size.width))
            light = wide[inner] + (defocused(wide, self._blur_px)[inner] - wide[inner]) * soft
        else:
            light = self._light(left, top, size)
        rows = np.arange(top, top + size.height) % _TEXTURE_PX
        columns = np.arange(left, left + size.width) % _TEXTURE_PX
        light += self._noise[:, rows[:, None], columns[None, :]]
        rgb: Rgb = np.clip(light + 0.5, 0, 255).astype(np.uint8).transpose(1, 2, 0)
        return rgb

    def _light(self, left: int, top: int, size: Size) -> NDArray[np.float32]:
        """(3, height, width) float32 light through slide and glass, in focus, without noise."""
        layout = self._layout
        light = np.empty((3, size.height, size.width), np.float32)
        shade = self._shade(left, top, size)
        inside = self._field(layout.tissue, left, top, size)
        ink = self._field(layout.pen, left, top, size)
        densities: list[tuple[Field, NDArray[np.float32]]] = []
        if inside.max() > -20:
            haematoxylin, eosin, blood = self._stains(inside, left, top, size)
            densities += [(haematoxylin, _HAEMATOXYLIN), (eosin, _EOSIN)]
            if blood is not None:
                densities.append((blood, _BLOOD))
        if ink.max() > 0:
            streaks = self._texture(self._streaks, left, top, size)
            rim = 0.35 * np.exp(-(((ink - 0.5) / 0.22) ** 2))
            densities.append(((ink * (0.92 + 0.10 * streaks) + rim * ink).astype(np.float32), _INK))
        for channel in range(3):
            if densities:
                total = sum(plane * stain[channel] for plane, stain in densities)
                light[channel] = GLASS[channel] * shade * np.exp(-total)
            else:
                light[channel] = GLASS[channel] * shade
        return light

    def _stains(self, inside: Field, left: int, top: int, size: Size) -> tuple[Field, Field, Field | None]:
        """Densities of haematoxylin, eosin and red cells."""
        layout, where = self._layout, (left, top, size)
        grain = self._texture(self._grain, *where)
        across, along = self._field(layout.across, *where), self._field(layout.along, *where)
        column = (across / self._mpp).astype(np.int32) & (_TEXTURE_PX - 1)
        row = (along / self._mpp).astype(np.int32) & (_TEXTURE_PX - 1)
        fibre = self._fibres.ravel()[row * _TEXTURE_PX + column]
        nest = np.clip((self._field(layout.epithelium, *where) + 0.8 * grain) / 1.4 + 0.5, 0, 1)
        cleft = np.clip((fibre + 0.45 * grain + 1.55) * 2.4, 0.06, 1)
        eosin = (0.60 + 0.17 * fibre + 0.05 * grain) * cleft
        wall = self._field(layout.wall, *where)
        eosin += wall * (0.72 + 0.07 * grain - eosin)
        eosin += nest * (0.40 + 0.045 * grain - eosin)
        haematoxylin = np.asarray(0.055 + nest * (0.15 + 0.045 * grain), np.float32)
        depth = self._field(layout.hole, *where)
        hole = np.clip(depth / 1.3 + 0.5, 0, 1)
        # The lining of a lumen or a fat cell is slightly denser than its surroundings.
        eosin += 0.22 * np.exp(-(((depth + 1.0) / 1.5) ** 2))
        eosin += hole * (0.015 - eosin)
        haematoxylin += hole * (0.008 - haematoxylin)
        self._draw_nuclei(haematoxylin, left, top, size)
        edge = np.clip((inside + 1.2 * grain) / 1.8 + 0.5, 0, 1)
        fold = 1 + 0.85 * self._field(layout.fold, *where)
        haematoxylin *= edge * fold * self._field(layout.haematoxylin, *where)
        eosin *= edge * fold * self._field(layout.eosin, *where)
        return haematoxylin, np.maximum(eosin, np.float32(0)), self._red_cells(left, top, size)

    def _draw_nuclei(self, density: Field, left: int, top: int, size: Size) -> None:
        mpp, every = self._mpp, self._nuclei
        first, last = np.searchsorted(every.y, [top * mpp - _MARGIN_UM, (top + size.height) * mpp + _MARGIN_UM])
        x = every.x[first:last]
        near = (x > left * mpp - _MARGIN_UM) & (x < (left + size.width) * mpp + _MARGIN_UM)
        self._stamps.draw(density, every.take(first + np.flatnonzero(near)), left=left, top=top)

    def _red_cells(self, left: int, top: int, size: Size) -> Field | None:
        at = self._layout.blood / self._mpp - (left, top)
        half = int(np.ceil(3.6 / self._mpp))
        near = (at > -half).all(axis=1) & (at < (size.width + half, size.height + half)).all(axis=1)
        if not near.any():
            return None
        plane = np.zeros((size.height + 4 * half, size.width + 4 * half), np.float32)
        away = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1]) * self._mpp
        disk = (0.75 - 0.2 * np.exp(-((away / 1.4) ** 2))) * np.clip((3.1 - away) / 0.7 + 0.5, 0, 1)
        for x, y in (np.floor(at[near]).astype(int) + 2 * half).tolist():
            place = plane[y - half : y + half + 1, x - half : x + half + 1]
            np.maximum(place, disk, out=place)
        return plane[2 * half : -2 * half, 2 * half : -2 * half]

    def _field(self, coarse: Field, left: int, top: int, size: Size) -> Field:
        """A field of the layout at every pixel centre, by linear interpolation."""
        step = self._mpp / GRID_UM
        rows = np.clip((np.arange(top, top + size.height) + 0.5) * step, 0, coarse.shape[0] - 1.001)
        columns = np.clip((np.arange(left, left + size.width) + 0.5) * step, 0, coarse.shape[1] - 1.001)
        r0, c0 = int(rows[0]), int(columns[0])
        part = coarse[r0 : int(rows[-1]) + 2, c0 : int(columns[-1]) + 2]
        if part.min() == part.max():
            return np.full((size.height, size.width), part[0, 0], np.float32)
        row, column = rows.astype(int), columns.astype(int)
        down = (rows - row).astype(np.float32)[:, None]
        tall = part[row - r0] * (1 - down) + part[row - r0 + 1] * down
        weights = np.zeros((part.shape[1], size.width), np.float32)
        share, every = (columns - column).astype(np.float32), np.arange(size.width)
        weights[column - c0, every] = 1 - share
        weights[column - c0 + 1, every] += share
        return np.asarray(tall @ weights, np.float32)

    def _texture(self, texture: Field, left: int, top: int, size: Size) -> Field:
        """The periodic texture at every pixel."""
        rows = np.arange(top, top + size.height) % _TEXTURE_PX
        columns = np.arange(left, left + size.width) % _TEXTURE_PX
        return np.take(np.take(texture, rows, axis=0), columns, axis=1)

    def _shade(self, left: int, top: int, size: Size) -> Field:
        """Uneven light of the microscope: a slow wave of 0.6% along each axis."""
        x = np.sin((np.arange(left, left + size.width, dtype=np.float32) * self._mpp) / 190)
        y = np.cos((np.arange(top, top + size.height, dtype=np.float32) * self._mpp) / 240)
        return np.asarray(1 + 0.004 * x[None, :] + 0.004 * y[:, None] - 0.006, np.float32)


def defocused(light: NDArray[np.float32], radius_px: float) -> NDArray[np.float32]:
    """(C, H, W) light with every point blurred to a disk, as by an out-of-focus lens; edges wrap around."""
    height, width = light.shape[1:]
    half = int(np.ceil(radius_px)) + 1
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    disk = np.clip(radius_px - np.hypot(x, y) + 0.5, 0, 1)
    kernel = np.zeros((height, width))
    kernel[y % height, x % width] = disk / disk.sum()
    transfer = np.fft.rfft2(kernel)
    return np.stack([np.fft.irfft2(np.fft.rfft2(plane) * transfer, s=plane.shape) for plane in light]).astype(
        np.float32
    )


def _periodic_noise(grain_x_px: float, grain_y_px: float, seed: int) -> Field:
    """(1024, 1024) noise with deviation 1 and spots of this width and height; it repeats without a seam."""
    side = _TEXTURE_PX
    white = np.random.default_rng(seed).standard_normal((side, side))
    fy, fx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    low_pass = np.exp(-2 * (np.pi / 2) ** 2 * ((grain_x_px * fx) ** 2 + (grain_y_px * fy) ** 2))
    noise = np.fft.irfft2(np.fft.rfft2(white) * low_pass, s=white.shape)
    noise -= noise.mean()
    return np.asarray(noise / noise.std(), np.float32)
