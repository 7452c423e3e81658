"""Makes training pictures: real tissue on glass, with artifacts simulated as what they do to light.

Tissue, ink and dust absorb: their optical densities add up. A fold is the tissue a second time, mirrored at the crease.
A bubble bends light: its rim is dark with a bright line, and what is inside is shifted and soft. Defocus spreads light
over a disk, before the camera's noise and the file's JPEG. Every picture comes from its own seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from fields import BACKGROUND, BLUR, BUBBLE, DUST, FOLD, IGNORE, PEN, TISSUE, Field, Labels, Rgb
from numpy.typing import NDArray

SIDE = 256  # pixels of a picture, of 4 um
SHARP_PX, BLURRED_PX = 1.0, 2.2  # radius of the defocus disk up to which tissue is sharp, and from which it is blurred

Plane = NDArray[np.float32]

# Density of inks at full strength in red, green and blue.
INKS = {
    "green": (1.3, 0.35, 0.75), "teal": (1.1, 0.3, 0.45), "blue": (1.3, 0.9, 0.25), "red": (0.08, 1.2, 1.0),
    "orange": (0.05, 0.5, 1.1), "purple": (0.8, 1.2, 0.3), "black": (1.3, 1.35, 1.3), "brown-black": (0.9, 1.15, 1.2),
}  # fmt: skip


@dataclass
class Picture:
    """A picture in the making.

    Attributes:
        density: (h, w, 3) optical density (log10) of what lies on the glass.
        labels: (h, w).
        light: (h, w, 3) what reaches the camera without it, 0-1.
    """

    density: NDArray[np.float32]
    labels: Labels
    light: NDArray[np.float32]


def made(field: Field, other: Field, seed: int, *, side: int = SIDE) -> tuple[Rgb, Labels]:
    """A picture with tissue of a field, and perhaps of another: (side, side, 3) uint8 and (side, side) uint8 labels."""
    rng = np.random.default_rng(seed)
    picture = _tissue(field, rng, side)
    for _ in range(int(rng.integers(0, 3))):
        _patchwork(picture, other, rng)
    if rng.random() < 0.75:
        _stain(picture, rng)
    if rng.random() < 0.25:
        _smear(picture, rng)
    if rng.random() < 0.85:
        _spoil(picture, rng)
    return _photographed(picture, rng), picture.labels


def _spoil(picture: Picture, rng: np.random.Generator) -> None:
    """Add artifacts in the order in which light meets them: tissue, mountant and coverslip, and what lies on it."""
    for likely, most, add in (
        (0.7, 3, _fold),
        (0.15, 1, _soft_specks),
        (0.6, 1, _defocus),
        (0.4, 1, _bubble),
        (0.25, 1, _edge),
        (0.5, 1, _sharp_specks),
        (0.4, 2, _ink),
    ):
        if rng.random() < likely:
            for _ in range(int(rng.integers(1, most + 1))):
                add(picture, rng)


def _noise(rng: np.random.Generator, side: int, grain: float) -> Plane:
    """(side, side) smooth noise of mean 0 and deviation 1, with features of about `grain` pixels."""
    small = max(3, int(side / grain) + 3)
    field = rng.normal(size=(small, small)).astype(np.float32)
    wide = cv2.resize(field, None, fx=side / (small - 2), fy=side / (small - 2), interpolation=cv2.INTER_CUBIC)
    cut = (wide.shape[0] - side) // 2
    return np.ascontiguousarray(wide[cut : cut + side, cut : cut + side])


def _glass_of(field: Field) -> NDArray[np.float32]:
    bright = field.rgb[field.labels == BACKGROUND]
    if len(bright) < 200:
        return np.array([245, 245, 245], np.float32)
    return np.maximum(np.percentile(bright, 70, axis=0), 60).astype(np.float32)


def _tissue(field: Field, rng: np.random.Generator, side: int, *, whole: bool = False) -> Picture:
    """The field at a scale near the model's, turned, and mirrored at its borders until the picture is full.

    Unless it is to be whole, an outline may be cut out of it.
    """
    # Thumbnails have their own pixels, or coarser ones.
    is_thumbnail = field.mpp > 4.5
    factor = rng.uniform(0.55, 1.0) if is_thumbnail else field.mpp / np.exp(rng.uniform(np.log(2.4), np.log(6.5)))
    turn, flip = rng.uniform(0, 360), rng.choice([-1, 1])
    if rng.random() < 0.5:
        turn = 90.0 * rng.integers(4)
    height, width = field.labels.shape
    source = field.rgb
    if factor < 0.8:  # no folding of frequencies that the model's pixels cannot show
        small = (max(8, round(width * factor)), max(8, round(height * factor)))
        source, factor_left = cv2.resize(source, small, interpolation=cv2.INTER_AREA), 1.0
        labels = cv2.resize(field.labels, small, interpolation=cv2.INTER_NEAREST_EXACT)
    else:
        factor_left, labels = factor, field.labels
    height, width = labels.shape
    centre = rng.uniform(0, width), rng.uniform(0, height)
    matrix = cv2.getRotationMatrix2D(centre, turn, factor_left)
    matrix[0] *= flip
    matrix[:, 2] += np.array([side / 2, side / 2]) - matrix @ np.array([*centre, 1])
    size = (side, side)
    rgb = cv2.warpAffine(source, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    labels = cv2.warpAffine(labels, matrix, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT)
    glass = _glass_of(field)
    density = -np.log10(np.clip(rgb.astype(np.float32), 2, None) / glass)
    light = np.broadcast_to(_linear(glass / 255), density.shape).astype(np.float32)
    picture = Picture(density.astype(np.float32), labels.copy(), light)
    if not whole and (labels == TISSUE).mean() > 0.6 and rng.random() < 0.6:
        _cut(picture, rng, side)
    return picture


def _patchwork(picture: Picture, other: Field, rng: np.random.Generator) -> None:
    """Areas and bands of other tissue within the tissue, or of denser and bluer tissue, as epithelium in stroma."""
    side = picture.labels.shape[0]
    tissue = picture.labels == TISSUE
    if tissue.mean() < 0.2:
        return
    if rng.random() < 0.5:
        across, _ = _curve(rng, side, bend=rng.normal(0, 0.5))
        width = np.exp(rng.uniform(np.log(8), np.log(120))) * np.clip(1 + 0.3 * _noise(rng, side, 40), 0.3, 2)
        depth = width / 2 - np.abs(across)
    else:
        grain = np.exp(rng.uniform(np.log(15), np.log(150)))
        depth = (_noise(rng, side, grain) - rng.uniform(-0.3, 1.3)) * grain / 2
    depth = depth + rng.uniform(0, 3) * _noise(rng, side, rng.uniform(4, 15))
    share = np.clip(depth / np.exp(rng.uniform(np.log(0.7), np.log(12))) + 0.5, 0, 1)[..., None].astype(np.float32)
    if rng.random() < 0.5:
        second = _tissue(other, rng, side, whole=True)
        share = share * (second.labels == TISSUE)[..., None]
        density = second.density
    else:
        blue = np.array([0.65, 0.70, 0.29], np.float32)
        own = picture.density
        grains = 1 + rng.uniform(0, 0.5) * _noise(rng, side, rng.uniform(1.5, 4))[..., None]
        density = own * np.float32(rng.uniform(0.7, 1.6))
        density = density + np.maximum(grains, 0) * blue * np.float32(rng.uniform(0.05, 0.5))
    mixed = picture.density + (density - picture.density) * share
    picture.density = np.where(tissue[..., None], mixed, picture.density).astype(np.float32)


def _cut(picture: Picture, rng: np.random.Generator, side: int) -> None:
    """Leave tissue only within an outline, as at the edge of a section, or holes torn into it."""
    depth = _noise(rng, side, rng.uniform(60, 250)) + 0.15 * _noise(rng, side, rng.uniform(6, 25))
    y, x = np.mgrid[0:side, 0:side].astype(np.float32) / side - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    depth += rng.uniform(0, 5) * (np.cos(angle) * x + np.sin(angle) * y) + rng.normal(0, 0.4)
    edge = np.clip(depth * rng.uniform(8, 40) + 0.5, 0, 1)
    clear = edge < 0.5
    picture.density *= edge[..., None]
    rim = cv2.morphologyEx(clear.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    picture.labels[clear] = BACKGROUND
    picture.labels[rim] = IGNORE


def _stain(picture: Picture, rng: np.random.Generator) -> None:
    """Another strength and hue of stain, or the colours of an immune stain."""
    density = picture.density
    tissue = (picture.labels == TISSUE)[..., None]
    changed = density * rng.uniform(0.75, 1.25, 3).astype(np.float32)
    mix = np.eye(3, dtype=np.float32) + rng.normal(0, 0.06, (3, 3)).astype(np.float32)
    changed = changed @ mix
    if rng.random() < 0.3:  # haematoxylin and brown: the darker part of the tissue takes the brown
        grey = density.mean(axis=-1, keepdims=True)
        blue, brown = np.array([0.65, 0.60, 0.35], np.float32), np.array([0.35, 0.65, 0.95], np.float32)
        level = np.float32(np.quantile(grey, rng.uniform(0.5, 0.98)))
        dark = 1 / (1 + np.exp(-(grey - level) * 25))
        strength = np.float32(rng.uniform(0.3, 1.2))
        changed = 1.7 * (grey * (1 - dark) * blue * strength + grey * dark * brown * np.float32(rng.uniform(0.7, 1.6)))
    changed *= np.float32(np.exp(rng.uniform(np.log(0.35), np.log(1.5))))
    picture.density = np.where(tissue, np.maximum(changed, -0.03), density).astype(np.float32)


def _smear(picture: Picture, rng: np.random.Generator) -> None:
    """Faint streaks of dried mountant or stain on the glass: no artifact."""
    side = picture.labels.shape[0]
    stretch = float(rng.uniform(1, 8))
    streaks = cv2.resize(_noise(rng, side, rng.uniform(10, 60)), (int(side * stretch), side))[:, :side]
    if rng.random() < 0.5:
        streaks = np.ascontiguousarray(streaks.T)
    faint = np.clip(streaks - rng.uniform(0, 1), 0, 2) * rng.uniform(0.005, 0.04)
    picture.density = (picture.density + faint[..., None] * rng.uniform(0.7, 1.3, 3).astype(np.float32)).astype(
        np.float32
    )


def _curve(rng: np.random.Generator, side: int, *, bend: float) -> tuple[Plane, Plane]:
    """Distance from a bent line through the picture, in pixels and signed, and position along it."""
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    angle = rng.uniform(0, np.pi)
    px, py = rng.uniform(0.1, 0.9, 2) * side
    along = (x - px) * np.cos(angle) + (y - py) * np.sin(angle)
    across = -(x - px) * np.sin(angle) + (y - py) * np.cos(angle)
    across = (
        across + bend * along**2 / side + rng.uniform(0, 6) * np.sin(along / rng.uniform(15, 60) + rng.uniform(0, 6))
    )
    return across.astype(np.float32), along.astype(np.float32)


def _fold(picture: Picture, rng: np.random.Generator) -> None:
    """Tissue twice: what lies beyond the crease is mirrored onto the band beside it."""
    side = picture.labels.shape[0]
    across, along = _curve(rng, side, bend=rng.normal(0, 0.5))
    width = np.exp(rng.uniform(np.log(6), np.log(52)))
    width = width * np.clip(1 + 0.35 * _noise(rng, side, 50), 0.3, 2)
    start, length = rng.uniform(-side, side / 2), rng.uniform(0.4, 2) * side
    taper = np.clip(np.minimum(along - start, start + length - along) / rng.uniform(10, 60), 0, 1)
    width = width * taper
    inside = (np.abs(across) < width / 2) & (width > 2)
    tissue = picture.labels == TISSUE
    if (inside & tissue).sum() < 30:
        return
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    gradient_y, gradient_x = np.gradient(cv2.GaussianBlur(across, (0, 0), 2))
    norm = np.maximum(np.hypot(gradient_x, gradient_y), 1e-3)
    shift = 2 * across + np.float32(rng.uniform(2, 20))
    map_x, map_y = x - shift * gradient_x / norm, y - shift * gradient_y / norm
    second = cv2.remap(picture.density, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR,
                       borderMode=cv2.BORDER_REFLECT)  # fmt: skip
    if rng.random() < 0.5:  # the upper layer is out of focus
        second = cv2.GaussianBlur(second, (0, 0), rng.uniform(0.6, 2.5))
    layers = np.float32(rng.choice([1.0, 1.0, 2.0]))
    edge = np.clip((width / 2 - np.abs(across)) / rng.uniform(0.7, 2.5), 0, 1)[..., None]
    own = picture.density
    mean = own[tissue].mean(axis=0) if tissue.any() else np.float32(0.2)
    extra = layers * np.maximum(second, np.float32(0.6) * mean) * edge
    crease = np.exp(-((np.abs(across) - width / 2) ** 2) / rng.uniform(0.8, 3))[..., None] * inside[..., None]
    extra += np.float32(rng.uniform(0, 0.6)) * mean * crease
    there = inside & (tissue | (picture.labels == FOLD))
    picture.density = np.where(there[..., None], own + extra, own).astype(np.float32)
    rim = cv2.morphologyEx(there.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    picture.labels[there] = FOLD
    picture.labels[rim & tissue] = IGNORE


def _disk(radius: float) -> NDArray[np.float32]:
    """A disk whose edge pixels count by the share that it covers, which sums to 1."""
    fine, reach = 8, int(np.ceil(radius)) + 1
    steps = (np.arange((2 * reach + 1) * fine) + 0.5) / fine - reach - 0.5
    full = (np.hypot(*np.meshgrid(steps, steps)) <= radius).astype(np.float32)
    size = 2 * reach + 1
    kernel = full.reshape(size, fine, size, fine).mean(axis=(1, 3))
    return kernel / kernel.sum()


def _linear(values: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.power(np.clip(values, 0, 1), 2.2).astype(np.float32)


def _seen(density: NDArray[np.float32]) -> NDArray[np.float32]:
    """Linear light through it; densities are those of sRGB values."""
    return np.power(10, -2.2 * density).astype(np.float32)


def _dense(light: NDArray[np.float32]) -> NDArray[np.float32]:
    return (-np.log10(np.clip(light, 1e-6, None)) / 2.2).astype(np.float32)


def _defocus(picture: Picture, rng: np.random.Generator) -> None:
    """Spread the light of each point over a disk, everywhere or in parts; glass cannot be said to be out of focus."""
    side = picture.labels.shape[0]
    radius = float(np.exp(rng.uniform(np.log(0.6), np.log(9))))
    share = np.ones((side, side), np.float32)
    if rng.random() < 0.55:
        soft = _noise(rng, side, rng.uniform(80, 300)) * rng.uniform(3, 12) + rng.normal(0, 2)
        share = np.clip(soft + 0.5, 0, 1)
    light = _seen(picture.density)
    spread = cv2.filter2D(light, -1, _disk(radius), borderType=cv2.BORDER_REFLECT)
    picture.density = _dense(light + (spread - light) * share[..., None])
    tissue = picture.labels == TISSUE
    if radius >= BLURRED_PX:
        picture.labels[tissue & (share > 0.7)] = BLUR
        picture.labels[tissue & (share > 0.15) & (share <= 0.7)] = IGNORE
    elif radius > SHARP_PX:
        picture.labels[tissue & (share > 0.15)] = IGNORE
    # Where tissue and glass run into each other, neither can be told.
    if radius > SHARP_PX:
        glass = (picture.labels == BACKGROUND).astype(np.uint8)
        wide = max(1, int(radius * 0.7))
        edge = cv2.morphologyEx(glass, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8), iterations=wide)
        picture.labels[(edge > 0) & (share > 0.15)] = IGNORE


def _bubble(picture: Picture, rng: np.random.Generator) -> None:
    """Air under the coverslip: a dark rim with a bright line inside, and a shifted, softer image within."""
    side = picture.labels.shape[0]
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    for _ in range(rng.integers(1, 5)):
        radius = np.exp(rng.uniform(np.log(5), np.log(110)))
        cx, cy = rng.uniform(-0.2, 1.2, 2) * side
        angle, stretch = rng.uniform(0, np.pi), rng.uniform(1, 1.8)
        u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        v = (-(x - cx) * np.sin(angle) + (y - cy) * np.cos(angle)) * stretch
        wobble = 1 + rng.choice([0.0, 0.08, 0.25]) * _noise(rng, side, max(8.0, radius))
        depth = radius * wobble - np.hypot(u, v)  # pixels inside the rim
        inside = depth > 0
        if not inside.any():
            continue
        line = np.clip(rng.uniform(0.02, 0.12) * radius, 1.0, 6.0)
        bend = np.float32(rng.uniform(-0.15, 0.2))
        light = _seen(picture.density)
        map_x, map_y = x + bend * (x - np.float32(cx)), y + bend * (y - np.float32(cy))
        bent = cv2.remap(light, map_x.astype(np.float32), map_y.astype(np.float32), cv2.INTER_LINEAR,
                         borderMode=cv2.BORDER_REFLECT)  # fmt: skip
        softness = rng.uniform(0.7, 4) if rng.random() < 0.7 else 0.0
        if softness:
            bent = cv2.filter2D(bent, -1, _disk(softness), borderType=cv2.BORDER_REFLECT)
        gain, veil = rng.uniform(0.75, 1.08), rng.uniform(0, 0.12)
        bent = bent * np.float32(gain) + np.float32(veil)
        dark = np.exp(-((depth - line * 0.4) ** 2) / line**2) * rng.uniform(0.5, 1.0)
        bright = np.exp(-((depth - line * 2.6) ** 2) / line**2) * rng.uniform(0, 0.6)
        outer = np.exp(-((depth + line * 0.9) ** 2) / line**2) * rng.uniform(0, 0.25)
        light = np.where(inside[..., None], bent, light)
        light = light * (1 - np.clip(dark, 0, 0.97))[..., None] + (bright + outer)[..., None] * 0.5
        picture.density = _dense(np.clip(light, 1e-4, 1.15))
        picture.labels[depth > -line * 0.3] = BUBBLE
        # Deep inside a large bubble that changes little, nobody could tell.
        if radius > 40 and softness < 2 and gain > 0.88 and veil < 0.06:
            picture.labels[depth > 6 * line + 12] = IGNORE
        picture.labels[(depth <= -line * 0.3) & (depth > -line - 2)] = IGNORE


def _edge(picture: Picture, rng: np.random.Generator) -> None:
    """The edge of coverslip or mountant: a dark line, often with a bright one beside it, and another shade behind."""
    side = picture.labels.shape[0]
    across, _ = _curve(rng, side, bend=rng.normal(0, 0.2))
    width = np.exp(rng.uniform(np.log(0.8), np.log(9)))
    strength = rng.uniform(0.35, 0.99)
    light = _seen(picture.density)
    beyond = np.float32(rng.uniform(0.8, 1.05))
    light = np.where((across > 0)[..., None], light * beyond, light)
    light *= (1 - strength * np.exp(-((across / width) ** 2)))[..., None]
    if rng.random() < 0.6:
        light += np.float32(rng.uniform(0, 0.3)) * np.exp(-(((across - 2.2 * width) / width) ** 2))[..., None]
    picture.density = _dense(np.clip(light, 1e-4, 1.15))
    picture.labels[np.abs(across) < 1.2 * width + 1] = BUBBLE
    ring = (np.abs(across) >= 1.2 * width + 1) & (np.abs(across) < 3 * width + 2)
    picture.labels[ring] = IGNORE
    if rng.random() < 0.5:  # glass without mountant beyond it
        clear = across > 3 * width + 2
        picture.density[clear] = np.float32(rng.uniform(0, 0.02)) - np.log10(beyond) / 2.2
        picture.labels[clear] = BACKGROUND


def _soft_specks(picture: Picture, rng: np.random.Generator) -> None:
    """Dust out of focus."""
    _specks(picture, rng, soft=True)


def _sharp_specks(picture: Picture, rng: np.random.Generator) -> None:
    """Dust in focus."""
    _specks(picture, rng, soft=False)


def _specks(picture: Picture, rng: np.random.Generator, *, soft: bool) -> None:
    """Dust, dark spots and fibres, sharp or out of focus; they may lie under or over the tissue."""
    side = picture.labels.shape[0]
    layer = np.zeros((side * 2, side * 2), np.float32)
    for _ in range(rng.integers(2, 16)):
        x, y = rng.integers(0, 2 * side, 2).tolist()
        kind = rng.random()
        level = float(rng.uniform(0.4, 1.0))
        if kind < 0.3:  # a fibre
            heading, points = rng.uniform(0, 2 * np.pi), [(x, y)]
            for _ in range(rng.integers(4, 25)):
                heading += rng.normal(0, 0.25)
                x, y = x + 12 * np.cos(heading), y + 12 * np.sin(heading)
                points.append((round(x), round(y)))
            cv2.polylines(layer, [np.array(points, np.int32)], False, level, int(rng.integers(2, 6)), cv2.LINE_AA)
        elif kind < 0.7:  # a grain
            axes = (rng.uniform(2, 14), rng.uniform(2, 14))
            cv2.ellipse(layer, ((float(x), float(y)), (axes[0] * 2, axes[1] * 2), rng.uniform(0, 180)), level, -1)
        else:  # an angular flake
            corners = rng.uniform(3, 18) * np.exp(1j * np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8))))
            shape = np.stack([x + corners.real, y + corners.imag], axis=-1).round().astype(np.int32)
            cv2.fillPoly(layer, [shape], level)
    layer = cv2.resize(layer, (side, side), interpolation=cv2.INTER_AREA)
    if soft:
        layer = cv2.GaussianBlur(layer, (0, 0), rng.uniform(1, 2.5))
    colour = rng.uniform(0.6, 1.6) * np.array([1, 1, 1], np.float32) * rng.uniform(0.8, 1.2, 3).astype(np.float32)
    picture.density = (picture.density + layer[..., None] * colour).astype(np.float32)
    seen = (layer * colour.mean() > 0.22) & (layer > 0.15)
    near = cv2.dilate(seen.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    picture.labels[near & ~seen & (picture.labels != BACKGROUND)] = IGNORE
    picture.labels[seen] = DUST


def _ink(picture: Picture, rng: np.random.Generator) -> None:
    """A pen's stroke on the coverslip, out of focus: what it lets through is multiplied, over tissue and glass."""
    side = picture.labels.shape[0]
    width = np.exp(rng.uniform(np.log(5), np.log(260)))
    if rng.random() < 0.25:  # a circle or dot
        cx, cy = rng.uniform(0, side, 2)
        y, x = np.mgrid[0:side, 0:side].astype(np.float32)
        across = np.hypot(x - cx, (y - cy) * rng.uniform(0.8, 1.3)) - rng.choice([0, 1, 1]) * np.exp(
            rng.uniform(np.log(6), np.log(120))
        )
        across, width = across.astype(np.float32), min(width, 60.0)
    else:
        across, _ = _curve(rng, side, bend=rng.normal(0, 0.6))
    across = across + rng.uniform(0, 2.5) * _noise(rng, side, rng.uniform(8, 40))
    soft = min(np.exp(rng.uniform(np.log(0.8), np.log(26))), width / 2)
    body = np.clip((width / 2 - np.abs(across)) / soft + 0.5, 0, 1)
    body = body * np.clip(1 + rng.uniform(0, 0.35) * _noise(rng, side, rng.uniform(10, 60)), 0.2, 2)
    if rng.random() < 0.4:  # ink gathers at the edges of a stroke
        body = body * (1 + rng.uniform(0, 0.8) * np.exp(-((np.abs(across) - width / 2 + soft) ** 2) / (soft + 3) ** 2))
    ink = np.array(INKS[rng.choice(list(INKS))], np.float32) * rng.uniform(0.8, 1.2, 3).astype(np.float32)
    strength = np.exp(rng.uniform(np.log(0.25), np.log(1.4)))
    extra = (body * strength)[..., None] * ink
    picture.density = (picture.density + extra).astype(np.float32)
    amount = extra.max(axis=-1)
    picture.labels[(amount > 0.04) & (amount <= 0.16)] = IGNORE
    picture.labels[amount > 0.16] = PEN


def _photographed(picture: Picture, rng: np.random.Generator) -> Rgb:
    """What the scanner stores: glass of some tint, uneven light, its optics and sharpening, noise, and JPEG."""
    side = picture.labels.shape[0]
    light = _seen(picture.density)
    if rng.random() < 0.8:
        level = rng.uniform(0.8, 1.0) if rng.random() < 0.8 else rng.uniform(0.52, 0.8)
        glass = np.clip(level * (1 + rng.normal(0, 0.02, 3)), 0, 1).astype(np.float32)
        light = light * _linear(glass)
    else:
        light = light * picture.light
    if rng.random() < 0.35:  # shadow: no artifact
        light *= (1 + rng.uniform(0, 0.08) * _noise(rng, side, rng.uniform(80, 300)))[..., None]
    if rng.random() < 0.5:
        light = cv2.GaussianBlur(light, (0, 0), rng.uniform(0.3, 0.6))
    srgb = 255 * np.power(np.clip(light, 0, 1), 1 / 2.2)
    if rng.random() < 0.4:
        srgb += rng.uniform(0.2, 1.0) * (srgb - cv2.GaussianBlur(srgb, (0, 0), rng.uniform(0.7, 1.3)))
    srgb += rng.normal(0, rng.uniform(0.3, 3.0), srgb.shape)
    if rng.random() < 0.3:
        srgb = 255 * np.power(np.clip(srgb / 255, 0, 1), rng.uniform(0.85, 1.2))
    rgb = np.clip(srgb + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.85:
        _, stored = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(50, 96))])
        rgb = cv2.imdecode(stored, cv2.IMREAD_COLOR)[..., ::-1]
    return np.ascontiguousarray(rgb)
