"""Stain normalizers by Slideflow's names."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import slideloom
from slideloom import ConfigError, Rgb

from slideloom_slideflow.adapting import adapted, refuse, tell
from slideloom_slideflow.table import rows

# A torch tensor, a tf tensor or a numpy array. Any: the first two cannot be named without importing their libraries.
Image = Any

_OTHERS = {"vahadane_spams": "vahadane", "vahadane_sklearn": "vahadane", "augment": "hsv-augment"}
_DIFFERENCES = {
    "vahadane_sklearn": "done as vahadane, which learns its dictionary as vahadane_spams does",
    "augment": "done as hsv-augment, which shifts hue, saturation and value, and equalizes no histogram",
}


def our_name(method: str) -> str:
    """Our name of one of Slideflow's methods."""
    if method in _DIFFERENCES:
        tell(f"{method}: {_DIFFERENCES[method]}")
    return _OTHERS.get(method, method).replace("_", "-")


class StainNormalizer:
    """Normalizes and augments staining; `ours` is the `slideloom.StainNormalizer` behind it."""

    @adapted("norm.StainNormalizer")
    def __init__(self, method: str, **kwargs: Any) -> None:
        self.method = method
        self.ours = slideloom.StainNormalizer(our_name(method))
        self._source = ""

    def __repr__(self) -> str:
        return f"<StainNormalizer {self.method}>"

    @adapted("norm.StainNormalizer.fit")
    def fit(self, arg1: Any, batch_size: int = 64, num_threads: int | str = "auto", **kwargs: Any) -> Self:
        """Set the target: a preset such as "v3", an image's path or pixels, or the tiles of a `Dataset`."""
        images = getattr(arg1, "each_tile", None)
        self.ours.fit(arg1 if images is None else images())
        self._source = arg1 if isinstance(arg1, str) else ""
        return self

    @adapted("norm.StainNormalizer.get_fit")
    def get_fit(self, as_list: bool = False) -> dict[str, Any]:
        """The target's values by name, as arrays or as lists."""
        values = self.ours.fit_values
        return values if as_list else {name: np.array(value) for name, value in values.items()}

    @adapted("norm.StainNormalizer.set_fit")
    def set_fit(self, **kwargs: Any) -> Self:
        """Set the target's values, as `get_fit` gives them."""
        self.ours.fit({name: np.asarray(value).tolist() for name, value in kwargs.items()})
        return self

    @adapted("norm.StainNormalizer.set_augment")
    def set_augment(self, preset: str | None = None, **kwargs: Any) -> Self:
        """How far augmentation goes: the preset "v1" or "v2"."""
        if preset is not None:
            fit = None if self.ours.method == "hsv-augment" else self.ours.fit_values
            self.ours = slideloom.StainNormalizer(self.ours.method, spread=preset)
            if fit is not None:
                self.ours.fit(fit)
        return self

    @adapted("norm.StainNormalizer.transform")
    def transform(self, image: Image, *, augment: bool = False) -> Image:
        """The image or images with their staining normalized; type and layout stay."""
        return self.ours.transform(image, augment=True) if augment else self.ours.transform(image)

    @adapted("norm.StainNormalizer.augment")
    def augment(self, image: Image) -> Image:
        """The image or images with their own stains varied at random; they are not normalized."""
        return self.ours.augment(image)

    @adapted("norm.StainNormalizer.augment_rgb")
    def augment_rgb(self, image: Rgb) -> Rgb:
        """The same of an array."""
        varied: Rgb = self.augment(image)
        return varied

    @adapted("norm.StainNormalizer.rgb_to_rgb")
    def rgb_to_rgb(self, image: Rgb, *, augment: bool = False) -> Rgb:
        """(H, W, 3) uint8 to the same, normalized."""
        done: Rgb = self.transform(image, augment=augment)
        return done

    @adapted("norm.StainNormalizer.tf_to_tf")
    def tf_to_tf(self, image: Any, *args: Any, augment: bool = False) -> Any:
        """A tf tensor, or a dictionary with one as "tile_image", normalized; other arguments are given back."""
        return _as_given(self, image, args, augment=augment)

    @adapted("norm.StainNormalizer.torch_to_torch")
    def torch_to_torch(self, image: Any, *args: Any, augment: bool = False) -> Any:
        """A torch tensor, or a dictionary with one as "tile_image", normalized; other arguments are given back."""
        return _as_given(self, image, args, augment=augment)

    @adapted("norm.StainNormalizer.tf_to_rgb")
    def tf_to_rgb(self, image: Any, *, augment: bool = False) -> Rgb:
        """A tf tensor to (H, W, 3) uint8, normalized."""
        return np.asarray(self.transform(image, augment=augment))

    @adapted("norm.StainNormalizer.jpeg_to_rgb")
    def jpeg_to_rgb(self, jpeg_string: bytes, *, augment: bool = False) -> Rgb:
        """A JPEG file's content to (H, W, 3) uint8, normalized."""
        return self.rgb_to_rgb(decoded(jpeg_string), augment=augment)

    @adapted("norm.StainNormalizer.png_to_rgb")
    def png_to_rgb(self, png_string: bytes, *, augment: bool = False) -> Rgb:
        """A PNG file's content to (H, W, 3) uint8, normalized."""
        return self.rgb_to_rgb(decoded(png_string), augment=augment)

    @adapted("norm.StainNormalizer.jpeg_to_jpeg")
    def jpeg_to_jpeg(self, jpeg_string: bytes, *, quality: int = 100, augment: bool = False) -> bytes:
        """A JPEG file's content, normalized and encoded again."""
        from slideloom_slideflow.pictures import encoded

        return bytes(encoded(self.jpeg_to_rgb(jpeg_string, augment=augment), "jpg", quality=quality))

    @adapted("norm.StainNormalizer.png_to_png")
    def png_to_png(self, png_string: bytes, *, augment: bool = False) -> bytes:
        """A PNG file's content, normalized and encoded again."""
        from slideloom_slideflow.pictures import encoded

        return bytes(encoded(self.png_to_rgb(png_string, augment=augment), "png"))

    @contextmanager
    def context(self, context: Any) -> Iterator[None]:
        """Within it, statistics come from a slide."""
        self.set_context(context)
        try:
            yield
        finally:
            self.clear_context()

    @adapted("norm.StainNormalizer.set_context")
    def set_context(self, context: Any) -> None:
        """Take statistics from a slide (a `WSI` or its path) or from its thumbnail, instead of from each image."""
        if isinstance(context, str | Path):
            with slideloom.WSI(context, 500, 500.0) as opened:
                self.ours.in_context(opened.slide)
            return
        ours = context if isinstance(context, slideloom.WSI) else getattr(context, "ours", None)
        if ours is None:
            self.ours.in_context(np.asarray(context, np.uint8))
        else:
            results = ours.qc_results
            mask = slideloom.union_mask(results, ours.info.size) if results else None
            self.ours.in_context(ours.slide, mask)

    @adapted("norm.StainNormalizer.clear_context")
    def clear_context(self) -> None:
        """Take statistics from each image again."""
        self.ours.in_context(None)


@adapted("norm.autoselect")
def autoselect(method: str, source: Any = None, backend: str | None = None, **kwargs: Any) -> StainNormalizer:
    """A normalizer by name, with its target: a preset, an image, or the tiles of a dataset."""
    normalizer = StainNormalizer(method)
    if source is not None:
        normalizer.fit(source)
    return normalizer


def _as_given(normalizer: StainNormalizer, image: Any, others: Sequence[Any], *, augment: bool) -> Any:
    if isinstance(image, dict):
        done: Any = {**image, "tile_image": normalizer.transform(image["tile_image"], augment=augment)}
    else:
        done = normalizer.transform(image, augment=augment)
    return (done, *others) if others else done


def decoded(content: bytes) -> Rgb:
    """The content of an image file as (H, W, 3) uint8.

    Raises:
        ConfigError: it is none.
    """
    from PIL import Image as pillow  # noqa: N813 - the module is named like its class

    try:
        return np.asarray(pillow.open(io.BytesIO(content)).convert("RGB"), np.uint8)
    except OSError as error:
        raise ConfigError(f"not the content of an image file: {error}") from error


def __getattr__(name: str) -> object:
    if f"norm.{name}" in rows():
        refuse(f"norm.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
