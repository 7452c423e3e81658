"""The normalizer steps: contracts, unfit policies, statistics of the slide, and augmentation."""

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
from slideloom import ConfigError, Size
from slideloom.settings.digest import digest_of
from slideloom.settings.tables import from_table
from slideloom_stain.fits import preset, save_fit
from slideloom_stain.methods import method
from slideloom_stain.settings import (
    HsvAugment,
    Macenko,
    MacenkoFast,
    Reinhard,
    ReinhardFast,
    ReinhardFastMask,
    ReinhardFastTissue,
    ReinhardMask,
    ReinhardTissue,
    StainAugment,
    Vahadane,
)
from slideloom_testing import PixelsSlide, batch_of, join, scene_of, stained, take, varied_batch
from slideloom_testing.contracts import NormalizerContract

ALL = [Macenko, MacenkoFast, Reinhard, ReinhardFast, ReinhardMask, ReinhardFastMask, Vahadane]


class TestMacenko(NormalizerContract):
    settings = Macenko()


class TestMacenkoFast(NormalizerContract):
    settings = MacenkoFast(target="v2", unfit="keep-original")


class TestMacenkoOfTheSlide(NormalizerContract):
    settings = Macenko(context="slide")

    def built(self):
        """Prepared: without a slide every tile is unfit."""
        return self.settings.build().for_slide(self.slide(), self.scene(), None)

    def test_built_twice_it_answers_the_same(self):
        """Built and prepared twice, from settings that were pickled."""
        batch, travelled = self.batch(), pickle.loads(pickle.dumps(self.settings))
        again = travelled.build().for_slide(self.slide(), self.scene(), None)
        self.same(self.answer(self.built(), batch), self.answer(again, batch), "built anew")


class TestMacenkoWithTheSlidesFit(NormalizerContract):
    settings = Macenko(unfit="slide-fit")


class TestMacenkoAugmented(NormalizerContract):
    settings = Macenko(augment="v2", seed=4)


class TestReinhard(NormalizerContract):
    settings = Reinhard()


class TestReinhardFast(NormalizerContract):
    settings = ReinhardFast(augment="v1")


class TestReinhardMask(NormalizerContract):
    settings = ReinhardMask()


class TestReinhardFastMask(NormalizerContract):
    settings = ReinhardFastMask(unfit="slide-fit")


class TestMacenkoVaried(NormalizerContract):
    settings = Macenko(augment="v2", around="own", seed=4)


class TestStainAugment(NormalizerContract):
    settings = StainAugment(seed=2)


class TestReinhardTissue(NormalizerContract):
    @pytest.fixture(autouse=True)
    def _target(self, tmp_path):
        save_fit(tmp_path / "fit.json", "reinhard-tissue", preset("reinhard"))
        self.settings = ReinhardTissue(target=tmp_path / "fit.json")


class TestReinhardFastTissue(NormalizerContract):
    @pytest.fixture(autouse=True)
    def _target(self, tmp_path):
        save_fit(tmp_path / "fit.json", "reinhard-fast-tissue", preset("reinhard-fast"))
        self.settings = ReinhardFastTissue(target=tmp_path / "fit.json")


class TestVahadane(NormalizerContract):
    settings = Vahadane()


class TestHsvAugment(NormalizerContract):
    settings = HsvAugment(seed=1)


GLASS = np.random.default_rng(5).normal(243, 1.5, (96, 96, 3)).clip(0, 255).astype(np.uint8)


def mixed_batch():
    """A stained tile and one of glass."""
    return batch_of([stained(Size(96, 96), seed=1), GLASS])


def slide_of(pixels, mpp=2.0):
    return PixelsSlide(pixels, mpp=mpp)


@pytest.mark.parametrize("cls", ALL)
def test_an_unfit_tile_is_rejected_by_default(cls):
    done = cls().build().apply(mixed_batch())

    assert done.ok.tolist() == [True, False]
    assert not done.fallback.any()


@pytest.mark.parametrize("cls", ALL)
def test_keep_original_keeps_the_pixels_and_counts_the_tile(cls):
    batch = mixed_batch()

    done = cls(unfit="keep-original").build().apply(batch)

    assert done.ok.all()
    assert done.fallback.tolist() == [False, True]
    assert np.array_equal(done.rgb[1], batch.rgb[1])


@pytest.mark.parametrize("cls", ALL)
def test_slide_fit_renders_an_unfit_tile_with_the_slides_statistics(cls):
    batch, slide = mixed_batch(), slide_of(stained(Size(600, 450), seed=3))
    chosen = method(cls.name)
    expected = chosen.render(GLASS, chosen.measure(slide.thumbnail(mpp=4).reshape(-1, 1, 3)), preset(cls.name))

    done = cls(unfit="slide-fit").build().for_slide(slide, scene_of(), None).apply(batch)

    assert done.ok.all()
    assert done.fallback.tolist() == [False, True]
    assert np.array_equal(done.rgb[1], expected)


@pytest.mark.parametrize("cls", ALL)
def test_slide_fit_rejects_where_the_slide_is_no_better(cls):
    empty = slide_of(np.full((400, 400, 3), 244, np.uint8))

    done = cls(unfit="slide-fit").build().for_slide(empty, scene_of(), None).apply(mixed_batch())

    assert done.ok.tolist() == [True, False]


@pytest.mark.parametrize("cls", ALL)
def test_with_the_slides_context_every_tile_is_changed_alike(cls):
    pixels = stained(Size(600, 450), seed=3)
    step = cls(context="slide").build().for_slide(slide_of(pixels), scene_of(), None)
    whole, part = pixels[:96, :96].copy(), pixels[:96, :96].copy()
    part[:, 48:] = 243

    done = step.apply(batch_of([whole, part]))

    assert done.ok.all()
    assert np.array_equal(done.rgb[0][:, :48], done.rgb[1][:, :48])


@pytest.mark.parametrize("cls", ALL)
def test_context_leaves_out_glass_and_what_is_discarded(cls):
    tissue = stained(Size(600, 400), seed=3)
    # Below the tissue glass, below that something else that QC discards.
    glass = np.full((400, 600, 3), 244, np.uint8)
    pen = (stained(Size(600, 400), seed=8) * np.array([0.3, 0.75, 0.5])).astype(np.uint8)
    mask = np.zeros((12, 6), bool)
    mask[8:] = True
    batch = take(varied_batch(), slice(0, 2))

    alone = cls(context="slide").build().for_slide(slide_of(tissue), scene_of(), None).apply(batch)
    masked = (
        cls(context="slide")
        .build()
        .for_slide(slide_of(np.concatenate([tissue, glass, pen])), scene_of(), mask)
        .apply(batch)
    )
    unmasked = (
        cls(context="slide")
        .build()
        .for_slide(slide_of(np.concatenate([tissue, glass, pen])), scene_of(), None)
        .apply(batch)
    )

    assert np.array_equal(alone.rgb, masked.rgb)
    assert not np.array_equal(alone.rgb, unmasked.rgb)


def test_without_a_measurable_slide_the_context_follows_the_policy():
    empty = slide_of(np.full((400, 400, 3), 244, np.uint8))
    batch = mixed_batch()

    rejected = Macenko(context="slide").build().for_slide(empty, scene_of(), None).apply(batch)
    kept = Macenko(context="slide", unfit="keep-original").build().for_slide(empty, scene_of(), None).apply(batch)

    assert not rejected.ok.any()
    assert kept.ok.all()
    assert kept.fallback.all()
    assert np.array_equal(kept.rgb, batch.rgb)


@pytest.mark.parametrize("cls", [Macenko, MacenkoFast, Reinhard, ReinhardFast])
def test_augmentation_varies_by_tile_and_repeats_by_seed(cls):
    tile = stained(Size(96, 96), seed=1)
    batch = batch_of([tile] * 6)

    first = cls(augment="v2", seed=1).build().apply(batch).rgb
    again = cls(augment="v2", seed=1).build().apply(batch).rgb
    other = cls(augment="v2", seed=2).build().apply(batch).rgb

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len({image.tobytes() for image in first}) == 6


def test_the_same_tile_of_another_slide_is_augmented_otherwise():
    tile = stained(Size(96, 96), seed=1)
    step = ReinhardFast(augment="v2").build()

    one, other = (step.apply(batch_of([tile], slide=name)).rgb for name in "ab")

    assert not np.array_equal(one, other)


def test_augmentation_scatters_lab_means_by_the_published_spread(textbook):
    tile = stained(Size(64, 64), seed=1)
    done = ReinhardFast(augment="v2", seed=3).build().apply(batch_of([tile] * 300))
    means = np.array([textbook.lab(image.reshape(-1, 3).astype(float)).mean(axis=0) for image in done.rgb])

    # Colours that sRGB lacks are cut, which pulls the means a little; so the bounds are wide.
    np.testing.assert_allclose(means.mean(axis=0), preset("reinhard-fast").target_means, atol=1.0)
    np.testing.assert_allclose(means.std(axis=0), 3 * np.array([1.2963034, 1.0061347, 0.90867484]), rtol=0.2)


def test_hsv_augmentation_of_nothing_changes_nothing():
    batch = varied_batch()

    done = HsvAugment(hue=0, saturation=0, value=0).build().apply(batch)

    assert np.abs(done.rgb.astype(int) - batch.rgb).max() <= 1


def test_a_target_may_be_an_image_or_the_fit_file_of_it(tmp_path):
    target = stained(Size(200, 200), seed=12)
    cv2.imwrite(str(tmp_path / "target.png"), target[..., ::-1])
    save_fit(tmp_path / "fit.json", "macenko", method("macenko").fit_image(target))
    batch = mixed_batch()

    from_image = Macenko(target=tmp_path / "target.png").build().apply(batch)
    from_file = Macenko(target=str(tmp_path / "fit.json")).build().apply(batch)

    assert np.array_equal(from_image.rgb[0], from_file.rgb[0])
    assert not np.array_equal(from_image.rgb[0], Macenko().build().apply(batch).rgb[0])


@pytest.mark.parametrize("cls", [ReinhardTissue, ReinhardFastTissue])
def test_methods_on_tissue_take_fits_of_their_own_only(cls, tmp_path):
    target = stained(Size(200, 200), seed=12)
    target[:, 90:] = 244
    cv2.imwrite(str(tmp_path / "target.png"), target[..., ::-1])
    save_fit(tmp_path / "own.json", cls.name, method(cls.name).fit_image(target))
    save_fit(tmp_path / "other.json", "reinhard", preset("reinhard"))
    batch = mixed_batch()

    from_image = cls(target=tmp_path / "target.png").build().apply(batch)
    from_file = cls(target=tmp_path / "own.json").build().apply(batch)

    assert from_image.ok.tolist() == [True, False]
    assert np.array_equal(from_image.rgb[0], from_file.rgb[0])
    with pytest.raises(ConfigError, match=r"other\.json.*holds a fit of reinhard"):
        cls(target=tmp_path / "other.json").build()
    with pytest.raises(ConfigError, match="has no presets: those published are statistics over all pixels"):
        cls(target="v3").build()
    with pytest.raises(ConfigError, match=r"own\.json.*holds a fit of " + cls.name):
        ReinhardMask(target=tmp_path / "own.json").build()


def test_a_target_of_a_pipeline_file_starts_at_its_folder_and_counts_by_content(tmp_path):
    cv2.imwrite(str(tmp_path / "target.png"), stained(Size(50, 50), seed=12))
    settings, mistakes = from_table(Macenko, {"target": "target.png"}, where="here", base=tmp_path)
    assert mistakes == []
    assert settings.target == tmp_path / "target.png"
    before = digest_of(settings)

    cv2.imwrite(str(tmp_path / "target.png"), stained(Size(50, 50), seed=13))

    assert digest_of(settings) != before
    preset_settings, _ = from_table(Macenko, {"target": "v2"}, where="here", base=tmp_path)
    assert preset_settings.target == "v2"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (Macenko(target="nowhere.png"), "nowhere.png.*preset"),
        (Vahadane(target=Path("folder/v3")), "vahadane has no preset 'v3'.*v1, v2"),
        (Vahadane(target="v3"), "vahadane has no preset 'v3'"),
        (Macenko(target="nowhere.json"), "nowhere.json"),
    ],
    ids=lambda value: "" if isinstance(value, str) else f"{value.name}-{value.target}",
)
def test_a_target_that_does_not_exist_is_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        settings.build()


def test_a_target_image_without_tissue_is_named(tmp_path):
    cv2.imwrite(str(tmp_path / "white.png"), np.full((50, 50, 3), 255, np.uint8))

    with pytest.raises(ConfigError, match=r"white\.png.*tissue"):
        Macenko(target=tmp_path / "white.png").build()


def test_a_target_that_is_no_image_is_named(tmp_path):
    (tmp_path / "notes.png").write_text("not pixels")

    with pytest.raises(ConfigError, match=r"notes\.png"):
        Macenko(target=tmp_path / "notes.png").build()


def test_batches_may_be_joined_without_changing_a_tile():
    one, other = mixed_batch(), varied_batch()
    step = Macenko(unfit="keep-original").build()

    together = step.apply(join(one, other))

    assert np.array_equal(together.rgb[:2], step.apply(one).rgb)
    assert np.array_equal(together.rgb[2:], step.apply(other).rgb)
