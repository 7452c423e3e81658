"""The library front of normalizers, for a plugin that has no front of its own, and for none at all."""

import pickle
from typing import ClassVar

import numpy as np
import pytest
from attrs import frozen
from slideloom import (
    ConfigError,
    Normalized,
    Normalizer,
    PluginError,
    Settings,
    Size,
    StainNormalizer,
    in_range,
    option,
)
from slideloom.plugins.discovery import Plugin, Registry
from slideloom_testing import batch_of, stained


class Darker(Normalizer):
    def __init__(self, by):
        self.by = by

    def apply(self, batch):
        ok = batch.rgb.reshape(len(batch), -1).min(axis=1) >= self.by
        return Normalized(batch.rgb - np.uint8(self.by), ok)


@frozen
class DarkerSettings(Settings[Normalizer]):
    """Takes a constant off."""

    name: ClassVar[str] = "darker-still"
    by: int = option(10, help="how much", validator=in_range(0, 255))

    def build(self):
        return Darker(self.by)


@pytest.fixture
def darker_installed(monkeypatch):
    """An environment whose only plugin is the one above."""
    plugin = Plugin(name="dark", dist="dark", version="1", module="dark", steps={"normalizer": [DarkerSettings]})
    monkeypatch.setattr("slideloom_stain.library.registry", lambda: Registry([plugin], None))


@pytest.mark.usefixtures("darker_installed")
def test_a_normalizer_without_a_front_transforms_arrays():
    image = np.full((4, 5, 3), 100, np.uint8)
    normalizer = StainNormalizer("darker_still", by=30)

    assert normalizer.method == "darker-still"
    assert np.array_equal(normalizer.transform(image), image - 30)
    assert np.array_equal(normalizer.transform(image[None]), image[None] - 30)


@pytest.mark.usefixtures("darker_installed")
def test_an_image_that_is_rejected_is_returned_and_told():
    batch = np.stack([np.full((4, 5, 3), 100, np.uint8), np.zeros((4, 5, 3), np.uint8)])

    out, ok = StainNormalizer("darker-still").normalize(batch)

    assert ok.tolist() == [True, False]
    assert (out[0] == 90).all()
    assert (out[1] == 0).all()


@pytest.mark.usefixtures("darker_installed")
def test_what_a_normalizer_cannot_do_is_said():
    normalizer = StainNormalizer("darker-still")

    with pytest.raises(ConfigError, match=r"darker-still cannot 'fit'"):
        normalizer.fit("v3")
    with pytest.raises(ConfigError, match="uint8 arrays, not list"):
        normalizer.transform([1, 2])
    with pytest.raises(ConfigError, match="by must be from 0 to 255"):
        StainNormalizer("darker-still", by=300)
    with pytest.raises(ConfigError, match="speed"):
        StainNormalizer("darker-still", speed=1)


@pytest.mark.usefixtures("darker_installed")
def test_a_method_that_is_not_installed_is_named():
    with pytest.raises(PluginError, match=r"macenko.*darker-still"):
        StainNormalizer("macenko")


@pytest.mark.parametrize("name", ["macenko", "reinhard-fast-mask", "vahadane"])
def test_the_settings_of_a_normalizer_build_the_same(name):
    normalizer = StainNormalizer(name, seed=3, unfit="slide-fit")
    again = normalizer.to_settings().build()

    batch = batch_of(np.stack([stained(Size(64, 64), seed=number) for number in range(3)]))
    assert np.array_equal(again.apply(batch).rgb[0], normalizer.transform(batch.rgb[0].copy()))
    assert normalizer.to_settings() == pickle.loads(pickle.dumps(normalizer.to_settings()))
