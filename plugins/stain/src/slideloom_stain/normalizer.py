"""The stain normalizer for use as a library: it is fitted once, then takes arrays, tensors or encoded images."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
from attrs import evolve
from numpy.typing import NDArray
from slideloom import ConfigError, Mask, Normalizer, Rgb, Settings, Slide, local_path

from slideloom_stain.carrying import settings_of
from slideloom_stain.context import slide_statistics, thumbnail_statistics
from slideloom_stain.draws import flat, refilled, spread_of
from slideloom_stain.fits import FAMILIES, StainFit, Unfit, fit_from, load_fit, preset, save_fit
from slideloom_stain.methods import method
from slideloom_stain.opencv import cv2
from slideloom_stain.settings import Around, StainAugment, Unfitting
from slideloom_stain.step import HsvStep, StainStep, augment_step
from slideloom_stain.targets import decode_rgb, image_fit, read_rgb, target_fit
from slideloom_stain.value_range import UNIT

HSV, OWN = "hsv-augment", "stain-augment"
# What `transform` takes and returns: uint8 numpy arrays, torch tensors, tf tensors. Any: tensor types cannot be named
# without importing their library.
Image = Any


class StainNormalizer:
    """Normalizes and augments the staining of images.

        normalizer = StainNormalizer("macenko").fit("v3")
        tile = normalizer.transform(tile)

    Without `fit`, the target is the method's default preset. numpy arrays are (H, W, 3) or (B, H, W, 3) uint8. Tensors
    are uint8, or floating with values 0-1, and may also be (3, H, W) or (B, 3, H, W). `torch` and `tensorflow` give a
    module for models and a function for `tf.data`, also for floating values of another range.

    `transform(x, augment=True)` normalizes to a target drawn around the fit; `augment(x)` varies the staining that the
    image has.

    Args:
        name: "macenko", "macenko-fast", "reinhard", "reinhard-fast", "reinhard-mask", "reinhard-fast-mask",
            "reinhard-tissue", "reinhard-fast-tissue" (which have no preset: call `fit` first), "vahadane",
            "stain-augment" or "hsv-augment" (which vary images in every call); `_` counts as `-`.
        unfit: what happens to an image whose stains cannot be estimated: "keep-original" returns it unchanged
            (`normalize` says which), "slide-fit" uses the context set by `in_context`, "reject" raises ConfigError.
        spread: preset of the spread of random targets, "v1" or "v2".
        seed: seed of the random draws.

    Raises:
        ConfigError: there is no such method.
    """

    def __init__(
        self,
        name: str = "macenko",
        *,
        unfit: Unfitting = "keep-original",
        spread: Literal["v1", "v2"] = "v2",
        seed: int = 0,
    ) -> None:
        self.method = name.replace("_", "-")
        self.spread = spread
        for option, value, known in (("unfit", unfit, get_args(Unfitting)), ("spread", spread, ("v1", "v2"))):
            if value not in known:
                raise ConfigError(f"{option} must be one of {', '.join(known)}, not {value!r}")
        self._step: StainStep | HsvStep
        self._has_target = True
        if self.method == HSV:
            self._step = HsvStep(hue=0.05, saturation=0.2, value=0.2, seed=seed)
        elif self.method == OWN:
            self._step = evolve(augment_step(StainAugment(spread=spread, seed=seed)), unfit=unfit)
        elif self.method in FAMILIES:
            self._has_target = FAMILIES[self.method].default != ""
            fit = preset(self.method if self._has_target else "reinhard")
            self._step = StainStep(method(self.method), fit, unfit=unfit, seed=seed)
        else:
            raise ConfigError(f"no stain method is named '{name}' (known: {', '.join([*FAMILIES, OWN, HSV])})")
        self._drawn = 0  # tiles that were drawn for
        self._forms: dict[Any, Any] = {}

    def fit(self, x: Any = "") -> Self:
        """Set the target.

        Args:
            x: a preset; the path of an image or fit file; an image; the values of a fit; or an iterable of images,
                such as a 4-D array or tensor, which is read once, image by image. For several images the target is
                the mean of their fits, like the published preset v3; images that cannot be measured are left out.

        Returns:
            The normalizer itself.

        Raises:
            ConfigError: nothing in `x` can be a target.
        """
        step = self._stain_step()
        if isinstance(x, StainFit):
            fit = x
        elif isinstance(x, str) and (x == "" or x in ("v1", "v2", "v3")):
            fit = preset(self.method, x)
        elif isinstance(x, str | Path):
            fit = target_fit(self.method, Path(x))
        elif isinstance(x, Mapping):
            fit = fit_from(self.method, x)
        elif getattr(x, "ndim", None) == 3:
            fit = image_fit(step.method, _as_rgb(x), source="the image")
        else:
            fit = self._mean_fit(_each_image(x), step.method.fit_image)
        return self._targeted(step, fit)

    def fit_slides(self, slides: Iterable[Slide]) -> Self:
        """Set the target to the mean fit of whole slides, each measured on its tissue at 4 microns per pixel.

        Args:
            slides: open slides with known mpp, read one at a time.

        Raises:
            ConfigError: no slide can be measured.
        """
        step = self._stain_step()
        chosen = step.method
        fit = self._mean_fit(slides, lambda slide: chosen.fit_of(slide_statistics(chosen, slide, None)))
        return self._targeted(step, fit)

    def in_context(self, of: Slide | Rgb | None, discard: Mask | None = None) -> Self:
        """Use the statistics of a slide, or of its thumbnail, instead of those of each image.

        With `unfit="slide-fit"`, only images that cannot be measured use them.

        Args:
            of: an open slide with known mpp; its thumbnail (h, w, 3) uint8 at about 4 microns per pixel; or None to
                go back to each image's own statistics.
            discard: (h, w) bool over the whole slide, True where pixels do not count.

        Raises:
            ConfigError: there is too little tissue.
        """
        step = self._stain_step()
        if of is None:
            return self._with(evolve(step, context="tile", slide_statistics=None))
        try:
            if isinstance(of, Slide):
                statistics = slide_statistics(step.method, of, discard)
            else:
                statistics = thumbnail_statistics(step.method, of, discard)
        except Unfit as error:
            raise ConfigError(f"no context for {self.method}: {error}") from error
        context: Literal["tile", "slide"] = "tile" if step.unfit == "slide-fit" else "slide"
        return self._with(evolve(step, context=context, slide_statistics=statistics))

    def transform(self, x: Image, *, augment: bool = False, index: Any = None) -> Image:
        """The image or images with normalized staining, in the same type, layout and range.

        Args:
            x: see the class.
            augment: to targets drawn at random around the fit.
            index: what they are drawn by; see `augment`.

        Raises:
            ConfigError: `x` is not an image, or it cannot be measured and `unfit` is "reject".
            ValueError: `x` is floating and its values are not 0-1.
        """
        if augment:
            self._refuse_without_spread()
        out, ok = self._run(x, index, augment="target") if augment else self.normalize(x)
        if isinstance(self._step, StainStep) and self._step.unfit == "reject" and not bool(np.asarray(ok).all()):
            raise ConfigError(
                f"{int((~np.asarray(ok)).sum())} of {np.asarray(ok).size} images have stains that cannot be estimated; "
                "choose unfit='keep-original', or call normalize, which says which"
            )
        return out

    def normalize(self, x: Image) -> tuple[Image, Image]:
        """As `transform`, and (B,) bool: False where an image could not be measured and is returned unchanged."""
        return self._run(x, None)

    def augment(self, x: Image, index: Any = None) -> Image:
        """The image or images with their own staining varied at random, around what they have and not around the fit.

        Images that cannot be measured are treated as `unfit` says, and never raise.

        Args:
            x: as for `transform`.
            index: number of the image, or one number per image. The same seed, index and image give the same result
                as array and as tensor. Without it, numpy images are numbered consecutively, and tensors use their
                library's random generator.

        Raises:
            ConfigError: the method has no published spread (vahadane).
        """
        self._refuse_without_spread()
        return self._run(x, index, augment="own")[0]

    def transform_bytes(self, encoded: bytes, *, quality: int = 95) -> bytes:
        """A JPEG or PNG image, normalized and encoded in the same format.

        Args:
            encoded: the file's bytes.
            quality: JPEG quality, 1-100; chroma is not subsampled.

        Raises:
            ConfigError: the bytes are not an image.
        """
        out = self.transform(decode_rgb(encoded, source="transform_bytes"))
        is_png = encoded[:4] == b"\x89PNG"
        options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR]
        options.append(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
        done, stored = cv2.imencode(".png" if is_png else ".jpg", out[..., ::-1], [] if is_png else options)
        if not done:
            raise ConfigError("transform_bytes: the image could not be encoded")
        return bytes(stored.tobytes())

    @property
    def fit_values(self) -> dict[str, list[Any]]:
        """The target's values as lists, under the names that existing projects use (`norm_fit` in a params.json)."""
        return self._fitted().fit.as_table()

    def to_settings(self) -> Settings[Normalizer]:
        """The settings of the step that does what `transform` does, with the target's values in them.

        Raises:
            ConfigError: the normalizer has the statistics of a slide (`in_context`), which are no settings.
        """
        return settings_of(self.method, self._step)

    def save(self, path: str | Path) -> None:
        """Write the method's name and target to a JSON file."""
        save_fit(local_path(path), self.method, self._fitted().fit)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """The normalizer that `save` wrote.

        Raises:
            ConfigError: the file is missing or is not a fit.
        """
        name, fit = load_fit(Path(path))
        return cls(name).fit(fit)

    def torch(
        self,
        *,
        augment: bool | Around = False,
        native: bool = False,
        value_range: tuple[float, float] = (0.0, 1.0),
    ) -> Any:  # Any: torch need not be installed
        """This normalizer as a `torch.nn.Module`; see `slideloom_stain.torch_form`.

        Args:
            augment: draw targets around the fit ("target" or True), or around images' "own" staining.
            native: never by numpy.
            value_range: of floating images.
        """
        from slideloom_stain.torch_form import TorchNormalizer

        return TorchNormalizer(self._stepped(augment), native=native, value_range=value_range)

    def tensorflow(
        self, *, augment: bool | Around = False, value_range: tuple[float, float] = (0.0, 1.0)
    ) -> Any:  # Any: TensorFlow ships no types
        """This normalizer as a function for `tf.data.Dataset.map`; see `slideloom_stain.tensorflow_form`.

        Args:
            augment, value_range: as for `torch`.
        """
        from slideloom_stain.tensorflow_form import TensorflowNormalizer

        return TensorflowNormalizer(self._stepped(augment), value_range=value_range)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_forms": {}}

    def _with(self, step: StainStep) -> Self:
        self._step, self._forms = step, {}
        return self

    def _targeted(self, step: StainStep, fit: StainFit) -> Self:
        self._has_target = True
        return self._with(evolve(step, fit=fit))

    def _stain_step(self) -> StainStep:
        if isinstance(self._step, HsvStep) or self.method == OWN:
            raise ConfigError(f"{self.method} has no target: it varies colours at random")
        return self._step

    def _fitted(self) -> StainStep:
        step = self._stain_step()
        if not self._has_target:
            preset(self.method)  # which says that there is none, and what to give
        return step

    def _refuse_without_spread(self) -> None:
        step = self._step
        if isinstance(step, StainStep):
            spread_of(step.method.family.name, step.method.family.fit, self.spread)

    def _stepped(self, augment: bool | Around) -> StainStep | HsvStep:
        if isinstance(self._step, HsvStep) or self.method == OWN:
            return self._step
        step = self._fitted()
        return evolve(step, augment=self.spread, around="own" if augment == "own" else "target") if augment else step

    def _mean_fit(self, items: Iterable[Any], fit_of: Callable[[Any], StainFit]) -> StainFit:
        """The mean fit of the items that can be measured, which are taken one at a time."""
        total, count, reason = np.zeros(()), 0, "there is none"
        for item in items:
            try:
                total = total + flat(fit_of(item))
                count += 1
            except Unfit as error:
                reason = str(error)
        if not count:
            raise ConfigError(f"no image can be a target for {self.method}: {reason}")
        return refilled(self._stain_step().fit, total / count)

    def _run(self, x: Image, index: Any, *, augment: bool | Around = False) -> tuple[Image, Image]:
        library = type(x).__module__.split(".")[0]
        if library in ("torch", "tensorflow"):
            key = (library, augment)
            if key not in self._forms:
                make = self.torch if library == "torch" else self.tensorflow
                self._forms[key] = make(augment=augment)
            form = self._forms[key].to(x.device) if library == "torch" else self._forms[key]
            images, ok = form.normalize(x, None if index is None else _as_tensor(index, x))
            return images, ok
        if not isinstance(x, np.ndarray) or x.dtype != np.uint8 or x.ndim not in (3, 4) or x.shape[-1] != 3:
            told = f"{x.shape} {x.dtype}" if isinstance(x, np.ndarray) else type(x).__name__
            raise ConfigError(f"not an image: {told}; give (H, W, 3) or (B, H, W, 3) uint8, or a torch or tf tensor")
        batch = x if x.ndim == 4 else x[None]
        if index is None:
            draws = augment or self.method in (HSV, OWN)
            index = range(self._drawn, self._drawn + len(batch)) if draws else [0] * len(batch)
            self._drawn += len(batch) if draws else 0
        numbers: NDArray[np.int64] = np.broadcast_to(np.asarray(index, np.int64).reshape(-1), (len(batch),))
        step = self._stepped(augment)
        done = step.normalize(batch, 0, numbers)
        return (done.rgb if x.ndim == 4 else done.rgb[0]), step.succeeded(done)


def _each_image(x: Any) -> Iterator[Rgb]:
    """The images in an iterable of arrays, tensors, batches of either, and paths."""
    if not isinstance(x, Iterable):
        raise ConfigError(f"a target is a preset, a path, an image, a fit or an iterable of images, not {x!r}")
    for item in x:
        if isinstance(item, str | Path):
            yield read_rgb(Path(item))
        elif getattr(item, "ndim", None) == 4:
            yield from (_as_rgb(image) for image in item)
        else:
            yield _as_rgb(item)


def _as_rgb(image: Any) -> Rgb:
    """An array or tensor as (H, W, 3) uint8."""
    array = np.asarray(image)
    if array.ndim == 3 and array.shape[0] == 3 and type(image).__module__.startswith("torch"):
        array = np.moveaxis(array, 0, -1)
    if array.ndim != 3 or array.shape[2] != 3:
        raise ConfigError(f"not an image: {array.shape} {array.dtype}; give (H, W, 3) uint8")
    if array.dtype != np.uint8:
        if not np.issubdtype(array.dtype, np.floating) or isinstance(image, np.ndarray):
            raise ConfigError(f"not an image: {array.dtype}; give uint8, or a floating tensor with values 0-1")
        if np.isnan(array).any():
            raise ConfigError("not an image: it holds NaN")
        UNIT.refuse(float(array.min()), float(array.max()))
        array = np.clip(np.round(array * 255.0), 0, 255)
    return np.ascontiguousarray(array, np.uint8)


def _as_tensor(index: Any, like: Any) -> Any:
    """Numbers of images as an int64 tensor (B,), of the same library as `like`."""
    if type(like).__module__.split(".")[0] == "tensorflow":
        import tensorflow

        return tensorflow.cast(index, tensorflow.int64)
    import torch

    return torch.as_tensor(index, dtype=torch.int64)
