"""What lies between a specimen and the stored pixels of a slide: stain, lens, camera, JPEG; for batches on a GPU.

Images are (B, 3, H, W) float32, 0-1. Every function takes what is random from the caller, one value per image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

WAVELENGTH_UM = 0.55
# Chroma and luma tables of ITU-T T.81, annex K; libjpeg scales them by the quality.
_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17, 22, 29, 51,
    87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA = (
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66,
    *[99] * 38,
)  # fmt: skip


def frequencies(height: int, width: int, mpp: float, device: torch.device) -> Tensor:
    """(height, width // 2 + 1) cycles per micron of a real Fourier transform."""
    rows = torch.fft.fftfreq(height, d=mpp, device=device)
    columns = torch.fft.rfftfreq(width, d=mpp, device=device)
    return torch.hypot(rows[:, None], columns[None, :])


def disk_transfer(frequency: Tensor, radius_um: Tensor) -> Tensor:
    """(B, h, w) transfer of an even disk, the defocus of geometric optics: 2 J1(2 pi r f) / (2 pi r f)."""
    phase = (2 * math.pi) * radius_um[:, None, None] * frequency
    return torch.where(phase < 1e-3, torch.ones_like(phase), 2 * torch.special.bessel_j1(phase) / phase.clamp_min(1e-3))


def gauss_transfer(frequency: Tensor, sigma_um: Tensor) -> Tensor:
    """(B, h, w) transfer of a Gaussian blur."""
    return torch.exp(-2 * (math.pi * sigma_um[:, None, None] * frequency) ** 2)


def lens_transfer(frequency: Tensor, aperture: Tensor) -> Tensor:
    """(B, h, w) transfer of a lens in focus, incoherent light: limited by diffraction at its numerical aperture."""
    part = (frequency / (2 * aperture[:, None, None] / WAVELENGTH_UM)).clamp(max=1)
    return (2 / math.pi) * (torch.acos(part) - part * torch.sqrt(1 - part**2))


def pixel_transfer(height: int, width: int, mpp: float, side_um: Tensor) -> Tensor:
    """(B, h, w) transfer of square camera pixels of a width in the specimen."""
    device = side_um.device
    rows = torch.fft.fftfreq(height, d=mpp, device=device)
    columns = torch.fft.rfftfreq(width, d=mpp, device=device)
    side = side_um[:, None, None]
    return torch.sinc(side * rows[None, :, None]) * torch.sinc(side * columns[None, None, :])


def through(images: Tensor, transfer: Tensor, gamma: Tensor) -> Tensor:
    """The images after a transfer of light; `gamma` (B,) is the camera's, 2.2 for sRGB."""
    power = gamma[:, None, None, None]
    light = images.clamp(0, 1) ** power
    spectrum = torch.fft.rfft2(light) * transfer[:, None]
    result = torch.fft.irfft2(spectrum, s=images.shape[-2:])
    return result.clamp(1e-6, 1) ** (1 / power)


def sharpened(images: Tensor, amount: Tensor, sigma_px: Tensor) -> Tensor:
    """Unsharp mask with a Gaussian of `sigma_px`, as scanners apply it after the exposure."""
    frequency = frequencies(images.shape[-2], images.shape[-1], 1.0, images.device)
    transfer = 1 + amount[:, None, None] * (1 - gauss_transfer(frequency, sigma_px))
    return torch.fft.irfft2(torch.fft.rfft2(images) * transfer[:, None], s=images.shape[-2:]).clamp(0, 1)


def mixed_stain(images: Tensor, matrix: Tensor) -> Tensor:
    """Other colours: optical density of the channels through a (B, 3, 3) matrix."""
    density = -torch.log(images.clamp_min(1 / 255))
    return torch.exp(-torch.einsum("bij,bjhw->bihw", matrix, density).clamp_min(0))


def jpeg(images: Tensor, quality: Tensor, *, halves_chroma: bool) -> Tensor:
    """The images as JPEG stores them; sides must be multiples of 16.

    Args:
        images: as above.
        quality: (B,) of libjpeg, 1-100.
        halves_chroma: True for 4:2:0, False for 4:4:4.
    """
    red, green, blue = (images * 255).unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    chroma = torch.stack([(blue - luma) * 0.564, (red - luma) * 0.713], 1)
    scale = torch.where(quality < 50, 5000 / quality, 200 - 2 * quality)
    luma = _rounded_blocks(luma[:, None] - 128, _LUMA, scale)[:, 0] + 128
    if halves_chroma:
        small = _rounded_blocks(torch.nn.functional.avg_pool2d(chroma, 2), _CHROMA, scale)
        chroma = torch.nn.functional.interpolate(small, scale_factor=2, mode="bilinear")
    else:
        chroma = _rounded_blocks(chroma, _CHROMA, scale)
    blue, red = luma + chroma[:, 0] / 0.564, luma + chroma[:, 1] / 0.713
    green = (luma - 0.299 * red - 0.114 * blue) / 0.587
    return (torch.stack([red, green, blue], 1).round() / 255).clamp(0, 1)


def _rounded_blocks(planes: Tensor, table: tuple[int, ...], scale: Tensor) -> Tensor:
    """(B, C, H, W) with the cosine coefficients of each block of 8 x 8 rounded to multiples of the scaled table."""
    index = torch.arange(8, device=planes.device, dtype=planes.dtype)
    cosines = torch.cos((2 * index[None, :] + 1) * index[:, None] * math.pi / 16) / 2
    cosines[0] /= math.sqrt(2)
    base = torch.tensor(table, device=planes.device, dtype=planes.dtype).view(8, 8)
    steps = torch.floor((base * scale[:, None, None] + 50) / 100).clamp(1, 255)[:, None, None, :, None, :]
    count, channels, height, width = planes.shape
    blocks = planes.view(count, channels, height // 8, 8, width // 8, 8)
    coefficients = torch.einsum("ij,bcyjxk,lk->bcyixl", cosines, blocks, cosines)
    rounded = torch.round(coefficients / steps) * steps
    return torch.einsum("ij,bcyixl,lk->bcyjxk", cosines, rounded, cosines).reshape(planes.shape)


def resized(images: Tensor, size: int, step: float) -> Tensor:
    """(B, 3, size, size): each pixel from `step` source pixels: their mean when shrinking, linear when enlarging."""
    rows, columns = (_weights(size, step, extent, images.device) for extent in images.shape[-2:])
    return rows @ images @ columns.T


def _weights(size: int, step: float, extent: int, device: torch.device) -> Tensor:
    """(size, extent) weights of source pixels; the first output pixel starts where the source does."""
    first = torch.arange(size, device=device)[:, None] * step
    pixel = torch.arange(extent, device=device)[None, :]
    if step >= 1:
        return (torch.minimum(first + step, pixel + 1) - torch.maximum(first, pixel)).clamp_min(0) / step
    return (1 - (first + step / 2 - 0.5 - pixel).abs()).clamp_min(0)
