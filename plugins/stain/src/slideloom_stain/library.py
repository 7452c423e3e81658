"""`slideloom.StainNormalizer`: finds the method among the installed plugins and hands over to that plugin's class."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
from slideloom import ConfigError, Normalizer, Settings, Size, TileBatch, Tiles, registry

# uint8 numpy arrays (H, W, 3) or (B, H, W, 3); also torch and tf tensors if the plugin supports them. Any: their types
# cannot be named without importing the libraries.
Image = Any


class StainNormalizer:
    """Normalizes the staining of images with any installed normalizer.

        normalizer = StainNormalizer("macenko").fit("v3")
        tile = normalizer.transform(tile)

    A plugin supports all of it by a class method `library_front(**options)` of its settings class, which returns an
    object with the methods below. Any other normalizer supports only `transform` and `normalize` of numpy arrays.

    Args:
        method: name of a normalizer, such as "macenko" or "macenko_fast".
        options: options of that object, such as `unfit="reject"` or `seed=1`; for a normalizer without
            `library_front`, its settings.

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

    def __repr__(self) -> str:
        return f"<StainNormalizer {self.method}>"

    def fit(self, x: Any = "") -> Self:
        """Set the target: a preset, the path of an image or fit file, an image, or an iterable of images (streamed)."""
        self.front.fit(x)
        return self

    def transform(self, x: Image, *, augment: bool = False, index: Any = None) -> Image:
        """The image or images with normalized staining, in the same type, layout and range.

        Args:
            x: the image or images.
            augment: normalize to random targets around the fit; `index` and the seed decide the draw.
            index: number of the image, or one per image; by default they are numbered as they come.
        """
        return self.front.transform(x, augment=True, index=index) if augment else self.front.transform(x)

    def normalize(self, x: Image) -> tuple[Image, Image]:
        """As `transform`, and a bool per image: False if it could not be normalized and is returned unchanged."""
        images, ok = self.front.normalize(x)
        return images, ok

    def augment(self, x: Image, index: Any = None) -> Image:
        """The image or images with their own staining varied at random, not normalized; `index` and the seed decide."""
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
        """The target's values as lists, under the names that existing projects use (`norm_fit` in a params.json)."""
        values: dict[str, Any] = self.front.fit_values
        return values

    def save(self, path: str | Path) -> None:
        """Write the method's name and target to a JSON file, which `fit` and pipeline files accept."""
        self.front.save(path)

    @classmethod
    def load(cls, path: str | Path, method: str = "macenko") -> Self:
        """The normalizer that `save` wrote. `method` may be any method of the same plugin."""
        normalizer = cls(method)
        normalizer.front = type(normalizer.front).load(path)
        normalizer.method = normalizer.front.method
        return normalizer

    def __getattr__(self, name: str) -> Any:
        """Further members of the plugin's own object, such as `in_context` or `torch`."""
        if name == "front":  # not yet there while unpickling
            raise AttributeError(name)
        return getattr(self.front, name)


class _PlainFront:
    """Any normalizer without `library_front`: built from its settings, for numpy arrays."""

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
