"""Each method once more, as its paper says it: float64, whole arrays, no tables, nothing shared with the package.

`(n, 3)` arrays hold one pixel per row. Results are not rounded. Where a figure differs between implementations in
the field (logarithm, threshold, percentile), the choice is that of the published presets (docs/explanation/stain.md).
"""

import numpy as np

BETA = 0.15


def brightened(pixels):
    """Values scaled so that the 90th percentile of all of them is white."""
    return np.minimum(pixels * 255.0 / np.percentile(pixels, 90), 255.0)


def density(pixels):
    return -np.log((pixels + 1.0) / 255.0)


def macenko_stains(pixels):
    """Columns haematoxylin and eosin (3, 2), and the 99th percentile of their concentrations (2,)."""
    od = density(pixels)
    tissue = od[(od >= BETA).all(axis=1)]
    _, vectors = np.linalg.eigh(np.cov(tissue.T))
    plane = vectors[:, [2, 1]]  # largest eigenvalue first
    plane[:, 0] *= np.sign(plane[:, 0].sum())  # towards more density, so that angles lie around 0
    along, across = (tissue @ plane).T
    low, high = np.percentile(np.arctan2(across, along), [1, 99])
    ends = [plane @ np.array([np.cos(angle), np.sin(angle)]) for angle in (low, high)]
    ends.sort(key=lambda end: -end[0])  # haematoxylin takes the larger part of red
    stains = np.stack(ends, axis=1)
    concentrations = np.linalg.lstsq(stains, od.T, rcond=None)[0]
    return stains, np.percentile(concentrations, 99, axis=1)


def macenko(rgb, target_stains, target_concentrations, *, bright=True):
    pixels = rgb.reshape(-1, 3).astype(np.float64)
    if bright:
        pixels = brightened(pixels)
    stains, strengths = macenko_stains(pixels)
    concentrations = np.linalg.lstsq(stains, density(pixels).T, rcond=None)[0]
    concentrations *= (np.asarray(target_concentrations) / strengths)[:, None]
    out = 255.0 * np.exp(-np.asarray(target_stains) @ concentrations)
    return np.clip(out.T, 0, 255).reshape(rgb.shape)


RGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
WHITE = RGB_TO_XYZ.sum(axis=1)  # D65


def lab(pixels):
    """CIE L*a*b* of sRGB values 0-255."""
    value = pixels / 255.0
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    xyz = linear @ RGB_TO_XYZ.T / WHITE
    cube = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = cube.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def rgb_of_lab(values):
    lightness, a, b = values.T
    y = (lightness + 16) / 116
    cube = np.stack([y + a / 500, y, y - b / 200], axis=1)
    xyz = np.where(cube > 6 / 29, cube**3, 3 * (6 / 29) ** 2 * (cube - 4 / 29)) * WHITE
    linear = np.clip(xyz @ np.linalg.inv(RGB_TO_XYZ).T, 0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def reinhard_pixels(rgb, *, bright=True, masked=False, on_tissue=False):
    """Values, L*a*b*, where pixels change, and which of them count."""
    pixels = rgb.reshape(-1, 3).astype(np.float64)
    if bright:
        pixels = brightened(pixels)
        if masked and not on_tissue:
            pixels = np.floor(pixels + 1e-9)
    values = lab(pixels)
    tissue = values[:, 0] / 100 < 0.93
    every = np.ones(len(values), bool)
    return pixels, values, tissue if masked else every, tissue if on_tissue else every


def reinhard(rgb, target_means, target_stds, **form):
    pixels, values, tissue, counts = reinhard_pixels(rgb, **form)
    mean, std = values[counts].mean(axis=0), values[counts].std(axis=0)
    moved = (values - mean) / std * np.asarray(target_stds) + np.asarray(target_means)
    return np.where(tissue[:, None], rgb_of_lab(moved), pixels).reshape(rgb.shape)


def sparse_strengths(od, stains, penalty):
    """argmin over c >= 0 of 0.5 |od - c @ stains|^2 + penalty * sum(c), by coordinate descent until it stands still."""
    gram, pull = stains @ stains.T, od @ stains.T - penalty
    c = np.zeros((len(od), 2))
    for _ in range(2000):
        before = c.copy()
        c[:, 0] = np.maximum(0, (pull[:, 0] - gram[0, 1] * c[:, 1]) / gram[0, 0])
        c[:, 1] = np.maximum(0, (pull[:, 1] - gram[0, 1] * c[:, 0]) / gram[1, 1])
        if np.abs(c - before).max() < 1e-10:
            break
    return c


def vahadane_stains(pixels, *, penalty=0.1, rounds=400):
    """Rows haematoxylin and eosin (2, 3) of unit length, from every pixel darker than L* 80."""
    od = density(pixels)[lab(pixels)[:, 0] < 80]
    stains = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    for _ in range(rounds):
        c = sparse_strengths(od, stains, penalty)
        before = stains.copy()
        for _ in range(10):
            for k in (0, 1):
                rest = od - c[:, [1 - k]] * stains[[1 - k]]
                row = np.maximum(c[:, k] @ rest / (c[:, k] @ c[:, k]), 0)
                stains[k] = row / max(np.linalg.norm(row), 1.0)
        if np.abs(stains - before).max() < 1e-7:
            break
    stains = stains / np.linalg.norm(stains, axis=1, keepdims=True)
    return stains[np.argsort(-stains[:, 0])]


def vahadane(rgb, target_stains, *, stains=None):
    pixels = brightened(rgb.reshape(-1, 3).astype(np.float64))
    if stains is None:
        stains = vahadane_stains(pixels)
    out = 255 * np.exp(-sparse_strengths(density(pixels), stains, 0.01) @ np.asarray(target_stains))
    tissue = lab(pixels)[:, :1] / 100 < 0.93
    return np.where(tissue, np.clip(out, 0, 255), pixels).reshape(rgb.shape)


def hsv_shifted(rgb, hue, saturation, value):
    """Hue turned by `hue` turns; saturation and value times 1 + `saturation` and 1 + `value`, cut to 0-1."""
    import colorsys

    out = np.empty(rgb.shape)
    for index in np.ndindex(rgb.shape[:2]):
        h, s, v = colorsys.rgb_to_hsv(*(rgb[index] / 255.0))
        turned = ((h + hue) % 1.0, min(s * (1 + saturation), 1.0), min(v * (1 + value), 1.0))
        out[index] = colorsys.hsv_to_rgb(*turned)
    return out * 255.0
