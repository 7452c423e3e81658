"""The library front of stain normalizers: finds the method among the plugins, and knows none of them by name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from slideloom import ConfigError, Normalizer, Settings, Size, TileBatch, Tiles, registry

# uint8 numpy arrays (H, W, 3) or (B, H, W, 3); torch and tf tensors where the plugin has such forms. Any: neither can
# be named without importing its library.
Image = Any


class StainNormalizer:
    """Normalizes the staining of images, by any installed normalizer.

        normalizer = StainNormalizer("macenko").fit("v3")
        tile = normalizer.transform(tile)

    A plugin whose settings class has a class method `library_front(**options)` returns from it an object with the
    methods below. Of any other normalizer `transform` on numpy arrays works.

    Args:
        method: name of a normalizer, such as "macenko" or "macenko_fast".
        options: of the front, such as `unfit="reject"` or `seed=1`; of a normalizer without one, its settings.

    Raises:
        PluginError: no installed plugin has such a normalizer.
        ConfigError: an option is wrong.
    """

    def __init__(self, method: str = "macenko", **options: Any) -> None:
        settings = registry().find("normalizer", method)
        self.method = settings.name
        make = getattr(settings, "library_front", None)
        try:
            self.front: Any = make(**options) if make else _PlainFront(settings, options)
        except TypeError as error:
            raise ConfigError(f"{self.method}: {error}") from error

    def fit(self, x: Any = "") -> Self:
        """Set the target: a preset, a path to an image or fit file, an image, or an iterable of images (streamed)."""
        self.front.fit(x)
        return self

    def transform(self, x: Image, *, augment: bool = False, index: Any = None) -> Image:
        """The image or images with their staining normalized; type, layout and range stay.

        Args:
            x: the image or images.
            augment: to targets drawn at random around the fit, by seed and `index`.
            index: number of the image, or one per image; by default they are numbered as they come.
        """
        return self.front.transform(x, augment=True, index=index) if augment else self.front.transform(x)

    def normalize(self, x: Image) -> tuple[Image, Image]:
        """As `transform`, and per image False where it could not be normalized and is the original."""
        images, ok = self.front.normalize(x)
        return images, ok

    def augment(self, x: Image, index: Any = None) -> Image:
        """The image or images with the staining they have varied at random, by seed and `index`; not normalized."""
        return self.front.augment(x, index)

    def transform_bytes(self, encoded: bytes) -> bytes:
        """A JPEG or PNG image, normalized and encoded in the same format."""
        done: bytes = self.front.transform_bytes(encoded)
        return done

    def to_settings(self) -> Settings[Normalizer]:
        """Settings that make the same normalizer, so that pipelines take it and other processes can build it.

        Raises:
            ConfigError: it has a state that settings cannot say, or its plugin does not tell.
        """
        make = getattr(type(self.front), "to_settings", None)
        if make is None:
            raise ConfigError(f"{self.method}: its plugin does not say what settings make this object; give settings")
        settings: Settings[Normalizer] = make(self.front)
        return settings

    @property
    def fit_values(self) -> dict[str, Any]:
        """The target's values as lists, under the names existing projects use (`norm_fit` of a params.json)."""
        values: dict[str, Any] = self.front.fit_values
        return values

    def save(self, path: str | Path) -> None:
        """Write the method's name and target as a JSON file, which `fit` and pipeline files take."""
        self.front.save(path)

    @classmethod
    def load(cls, path: str | Path, method: str = "macenko") -> Self:
        """The normalizer that `save` wrote. `method` only has to be of the same plugin."""
        normalizer = cls(method)
        normalizer.front = type(normalizer.front).load(path)
        normalizer.method = normalizer.front.method
        return normalizer

    def __getattr__(self, name: str) -> Any:
        """What the plugin's own front has besides, such as `in_context` or `torch`."""
        if name == "front":  # not yet there while unpickling
            raise AttributeError(name)
        return getattr(self.front, name)


class _PlainFront:
    """A normalizer whose plugin has no front: built from its settings, for numpy arrays."""

    def __init__(self, settings: type[Settings[Normalizer]], options: dict[str, Any]) -> None:
        self.method = settings.name
        try:
            self._settings = settings(**options)
            self._step = self._settings.build()
        except ValueError as error:
            raise ConfigError(f"{self.method}: {error.args[0] if error.args else error}") from error

    def to_settings(self) -> Settings[Normalizer]:
        return self._settings

    def normalize(self, x: Image) -> tuple[Image, Image]:
        if not isinstance(x, np.ndarray) or x.dtype != np.uint8 or x.ndim not in (3, 4) or x.shape[-1] != 3:
            raise ConfigError(f"{self.method} takes (H, W, 3) or (B, H, W, 3) uint8 arrays, not {type(x).__name__}")
        rgb = x if x.ndim == 4 else x[None]
        count = np.arange(len(rgb))
        tiles = Tiles(count, 0 * count, 0 * count, count, 0 * count, 0 * count - 1, footprint=Size(*rgb.shape[2:0:-1]))
        done = self._step.apply(TileBatch(rgb, tiles, slide="", labels=(None,) * len(rgb)))
        good = done.ok[:, None, None, None]
        out = np.where(good, done.rgb, rgb)
        return (out if x.ndim == 4 else out[0]), done.ok

    def transform(self, x: Image, *, augment: bool = False, index: Any = None) -> Image:
        if augment:
            raise ConfigError(f"{self.method} cannot 'augment': it has no form for use as a library beyond transform")
        return self.normalize(x)[0]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise ConfigError(f"{self.method} cannot '{name}': it has no form for use as a library beyond transform")
