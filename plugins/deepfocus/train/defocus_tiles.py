"""Tiles of tissue at 1 micron per pixel, in focus and out of focus, as scanners of many kinds would store them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import cv2
import numpy as np
import optics
import torch
from attrs import frozen
from fields import Field, Rgb, tissue_share
from torch import Tensor

MPP = 1.0
TILE_PX = 64
SHARP_UM = 0.6  # radius of the defocus disk up to which a tile is in focus
HALF_UM = 1.4  # and at which it counts half
MOST_UM = 8.0
VISIBLE = (0.004, 0.010)  # a defocus that changes pixels by less (root mean square, of 0-1) cannot be seen
SIDE_PX = 80  # made, of which 64 are used: the blocks of JPEG start anywhere
_REACH_UM = MOST_UM + 1
_MIN_TISSUE = 0.2
_H, _E, _DAB = (0.650, 0.704, 0.286), (0.072, 0.990, 0.105), (0.269, 0.568, 0.778)  # Ruifrok & Johnston 2001
_INKS = ((1.6, 0.4, 0.5), (1.4, 0.9, 0.2), (0.2, 1.3, 1.1), (1.3, 1.3, 1.2))  # density of green, blue, red, black ink


@frozen
class Source:
    """A field on the device.

    Attributes:
        field: which.
        pixels: (3, H, W) uint8, mirrored beyond its sides.
        places: (N, 2) rows and columns of `pixels` around which there is tissue.
        weight: how often it is drawn.
    """

    field: Field
    pixels: Tensor
    places: Tensor
    weight: float


def source_of(field: Field, rgb: Rgb, device: torch.device) -> Source:
    """The field, ready to be cut."""
    mpp = field.mpp
    beyond = math.ceil((SIDE_PX * 1.5 / 2 + _REACH_UM + 1) / mpp) + 16
    wide = cv2.copyMakeBorder(rgb, beyond, beyond, beyond, beyond, cv2.BORDER_REFLECT_101)
    share = tissue_share(rgb, mpp=mpp, tile_um=TILE_PX * MPP)
    seen = share < 0.02 if field.role == "glass" and "pen" not in field.file else share >= _MIN_TISSUE
    inset = round(24 / mpp)
    seen[:inset] = seen[-inset:] = False
    seen[:, :inset] = seen[:, -inset:] = False
    places = np.argwhere(seen) + beyond
    return Source(
        field,
        torch.from_numpy(wide).permute(2, 0, 1).contiguous().to(device),
        torch.from_numpy(places).to(device),
        math.sqrt(len(places)) * mpp,
    )


def chances(sources: list[Source]) -> np.ndarray:
    """How often each source is drawn: by the root of its area, and less for another of the same origin."""
    total: dict[str, float] = {}
    for source in sources:
        total[source.field.origin] = total.get(source.field.origin, 0) + source.weight
    weights = np.array([source.weight / math.sqrt(total[source.field.origin]) for source in sources])
    return weights / weights.sum()


def cut(source: Source, places: Tensor, step: float) -> tuple[Tensor, int]:
    """(B, 3, S, S) float, 0-1, around each place, and the margin in pixels around what `SIDE_PX` need."""
    margin = math.ceil(_REACH_UM / source.field.mpp / 8) * 8  # so that the side suits Fourier transforms
    core = math.ceil(SIDE_PX * step / 16) * 16
    side = core + 2 * margin
    index = torch.arange(side, device=places.device) - side // 2
    rows, columns = places[:, :1] + index, places[:, 1:] + index
    patches = source.pixels[:, rows[:, :, None], columns[:, None, :]]
    return patches.permute(1, 0, 2, 3).float() / 255, margin


class Maker:
    """Makes training tiles; everything random comes from one generator.

    Attributes:
        device: where.
        draw: the generator.
    """

    def __init__(self, device: torch.device, seed: int) -> None:
        self.device = device
        self.draw = torch.Generator(device).manual_seed(seed)
        self.choose = np.random.default_rng(seed)

    def uniform(self, count: int, low: float, high: float) -> Tensor:
        """(count,) even between two values."""
        return low + (high - low) * torch.rand(count, device=self.device, generator=self.draw)

    def happens(self, count: int, chance: float) -> Tensor:
        """(count,) 1 with a chance, else 0."""
        return (self.uniform(count, 0, 1) < chance).float()

    def tiles(self, source: Source, count: int) -> tuple[Tensor, Tensor]:
        """(count, 3, 64, 64) and (count,) how far each is out of focus, 0-1."""
        # The microns per pixel that a slide states are wrong at times, and magnifications are nominal.
        zoom = math.exp(self.choose.uniform(math.log(0.667), math.log(1.5))) if self.choose.random() < 0.6 else 1.0
        step = MPP * zoom / source.field.mpp
        which = torch.randint(len(source.places), (count,), device=self.device, generator=self.draw)
        patches, margin = cut(source, source.places[which], step)
        patches = self._restained(self._turned(patches))
        radius = self._radii(count)
        blurred = self._exposed(patches, source.field.mpp, radius)
        inner = slice(margin, patches.shape[-1] - margin)
        before = optics.resized(patches[..., inner, inner], SIDE_PX, step)
        change = (optics.resized(blurred[..., inner, inner], SIDE_PX, step) - before).square().mean((1, 2, 3)).sqrt()
        stored = self._stored(self._inked(blurred[..., inner, inner]), step)
        top, left = (int(self.choose.integers(0, SIDE_PX - TILE_PX + 1)) for _ in range(2))
        tiles = stored[..., top : top + TILE_PX, left : left + TILE_PX]
        return tiles, self._labels(radius, change, is_glass=source.field.role == "glass")

    def _labels(self, radius: Tensor, change: Tensor, *, is_glass: bool) -> Tensor:
        if is_glass:
            return torch.zeros_like(radius)
        soft = torch.sigmoid((radius.clamp_min(1e-3).log() - math.log(HALF_UM)) / 0.12)
        low, high = VISIBLE
        return soft * (radius > SHARP_UM) * ((change - low) / (high - low)).clamp(0, 1)

    def _radii(self, count: int) -> Tensor:
        sharp = self.uniform(count, 0, SHARP_UM)
        soft = torch.exp(self.uniform(count, math.log(SHARP_UM), math.log(MOST_UM)))
        return torch.where(self.happens(count, 0.45) > 0, sharp, soft)

    def _turned(self, patches: Tensor) -> Tensor:
        turned = torch.rot90(patches, int(self.choose.integers(4)), (2, 3))
        return turned.flip(3) if self.choose.random() < 0.5 else turned

    def _restained(self, patches: Tensor) -> Tensor:
        count = len(patches)
        eye = torch.eye(3, device=self.device)
        noise = torch.rand((count, 3, 3), device=self.device, generator=self.draw) * 0.24 - 0.12
        gains = 0.75 + 0.5 * torch.rand((count, 3, 1), device=self.device, generator=self.draw)
        matrix = eye * gains + noise
        other = self._brown(count)
        matrix = torch.where(self.happens(count, 0.2)[:, None, None] > 0, other, matrix)
        strength = torch.exp(self.uniform(count, math.log(0.35), math.log(1.5)))
        return optics.mixed_stain(patches, matrix * strength[:, None, None])

    def _brown(self, count: int) -> Tensor:
        """(count, 3, 3): hematoxylin stays, eosin becomes DAB, pale or strong."""
        stains = torch.tensor([_H, _E, np.cross(_H, _E).tolist()], device=self.device).float().T
        unmix = torch.linalg.inv(stains / stains.norm(dim=0))
        brown = torch.tensor([_H, _DAB, (0, 0, 0)], device=self.device).float().T
        nothing = torch.zeros(count, device=self.device)
        amounts = torch.stack([self.uniform(count, 0.5, 1.2), self.uniform(count, 0.1, 1.3), nothing], 1)
        return torch.einsum("ij,bj,jk->bik", brown, amounts, unmix)

    def _exposed(self, patches: Tensor, mpp: float, radius: Tensor) -> Tensor:
        """Through a lens, in or out of focus, onto camera pixels."""
        count, side = len(patches), patches.shape[-1]
        frequency = optics.frequencies(side, side, mpp, self.device)
        gaussian = self.happens(count, 0.2)[:, None, None] > 0  # not every defocus is an even disk
        defocus = torch.where(
            gaussian, optics.gauss_transfer(frequency, radius / 2), optics.disk_transfer(frequency, radius)
        )
        lens = optics.lens_transfer(frequency, self.uniform(count, 0.3, 0.8))
        camera = optics.pixel_transfer(side, side, mpp, self.uniform(count, 0.1, 1.0))
        # The fields themselves went through a lens and a camera: often nothing is added, and some become crisper, as
        # other scanners are.
        plain = self.happens(count, 0.5)[:, None, None] > 0
        crisp = self.happens(count, 0.35) * self.uniform(count, 0.2, 1.6)
        crisper = 1 + crisp[:, None, None] * (1 - optics.gauss_transfer(frequency, self.uniform(count, 0.5, 1.3)))
        added = torch.where(plain, torch.ones_like(lens), lens * camera)
        return optics.through(patches, defocus * added * crisper, self.uniform(count, 1.8, 2.4))

    def _inked(self, images: Tensor) -> Tensor:
        """Translucent ink over a part of some images; it says nothing about the focus of what is below."""
        count, side = len(images), images.shape[-1]
        coarse = torch.randn((count, 1, 4, 4), device=self.device, generator=self.draw)
        field = torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic")
        edge = torch.exp(self.uniform(count, math.log(1), math.log(30)))[:, None, None, None]
        cover = torch.sigmoid(field * edge + self.uniform(count, -1, 2)[:, None, None, None] * edge)
        which = torch.randint(len(_INKS), (count,), device=self.device, generator=self.draw)
        ink = torch.tensor(_INKS, device=self.device)[which][:, :, None, None]
        amount = self.happens(count, 0.08) * self.uniform(count, 0.2, 1.2)
        return images * torch.exp(-cover * ink * amount[:, None, None, None])

    def _stored(self, images: Tensor, step: float) -> Tensor:
        """Noise, gain, sharpening and JPEG at the scanner's pixels or at the tile's, then (count, 3, 80, 80)."""
        at_tile = step < 1 or self.choose.random() < 0.5
        if at_tile:
            return self._camera(optics.resized(images, SIDE_PX, step))
        side = images.shape[-1] // 16 * 16
        small = optics.resized(self._camera(images[..., :side, :side]), SIDE_PX, step)
        return self._jpeg(small) if self.choose.random() < 0.5 else (small * 255).round() / 255

    def _camera(self, images: Tensor) -> Tensor:
        count = len(images)
        power = torch.exp(self.uniform(count, math.log(0.75), math.log(1.33)))[:, None, None, None]
        gain = 0.86 + 0.18 * torch.rand((count, 3, 1, 1), device=self.device, generator=self.draw)
        images = (images.clamp(1e-6, 1) ** power * gain).clamp(0, 1)
        noise = torch.randn(images.shape, device=self.device, generator=self.draw)
        grain = (self.uniform(count, 0, 4) / 255)[:, None, None, None]
        amount = self.happens(count, 0.5) * self.uniform(count, 0.2, 1.5)
        images = optics.sharpened((images + noise * grain).clamp(0, 1), amount, self.uniform(count, 0.6, 1.6))
        return self._jpeg(images)

    def _jpeg(self, images: Tensor) -> Tensor:
        quality = self.uniform(len(images), 30, 95).round()
        return optics.jpeg(images, quality, halves_chroma=bool(self.choose.random() < 0.5))


def grid_places(source: Source, *, stride_um: float) -> Tensor:
    """(N, 2) of the source's places that lie on a grid."""
    stride = round(stride_um / source.field.mpp)
    on_grid = ((source.places - source.places.amin(0)) % stride == 0).all(1)
    return source.places[on_grid]


def plain_tiles(source: Source, places: Tensor, radius_um: float, *, zoom: float, quality: float) -> Tensor:
    """(N, 3, 64, 64) around the places: defocused by a disk, stored as JPEG, read with an mpp that is off by `zoom`."""
    step = MPP * zoom / source.field.mpp
    patches, margin = cut(source, places, step)
    count, side = len(patches), patches.shape[-1]
    frequency = optics.frequencies(side, side, source.field.mpp, patches.device)
    radius, gamma, qualities = (
        torch.full((count,), value, device=patches.device) for value in (radius_um, 2.2, quality)
    )
    blurred = optics.through(patches, optics.disk_transfer(frequency, radius), gamma)
    core = (side - 2 * margin) // 16 * 16
    stored = optics.jpeg(blurred[..., margin : margin + core, margin : margin + core], qualities, halves_chroma=True)
    inset = (SIDE_PX - TILE_PX) // 2
    small = optics.resized(stored, SIDE_PX, step)[..., inset : inset + TILE_PX, inset : inset + TILE_PX]
    return (small * 255).round() / 255


def sources_of(fields: Mapping[Field, Rgb], device: torch.device) -> list[Source]:
    """All fields that train, on the device."""
    return [source_of(field, rgb, device) for field, rgb in fields.items() if field.role != "test"]
