"""The library form: fitting, types kept, bytes, files, slides as context."""

import pickle
import struct
import zlib

import cv2
import numpy as np
import pytest
import slideloom as sl
from slideloom import ConfigError, Size
from slideloom_stain.draws import normal
from slideloom_stain.fits import preset
from slideloom_stain.methods import method
from slideloom_stain.normalizer import StainNormalizer
from slideloom_testing import PixelsSlide, stained

# Standard deviations between slides as published, per unit; v2 takes three of them.
SPREAD = {
    "reinhard": [1.1882676, 1.3114343, 1.1200949, 0.5123385, 0.37919158, 0.26019168],
    "reinhard-fast": [1.2963034, 1.0061347, 0.90867484, 0.47548684, 0.3956356, 0.23499836],
    "macenko": [
        0.00893346, 0.01153686, 0.00659814, 0.00722771, 0.00726339, 0.01352414, 0.06665898, 0.06770515,
    ],
    "macenko-fast": [
        0.00794701, 0.01137106, 0.00559027, 0.00642623, 0.00609103, 0.01144302, 0.06623945, 0.08137263,
    ],
}  # fmt: skip
GLASS = np.random.default_rng(5).normal(243, 1.5, (96, 96, 3)).clip(0, 255).astype(np.uint8)
NAMES = ["macenko", "macenko_fast", "reinhard", "reinhard-fast", "reinhard_mask", "reinhard-fast-mask", "vahadane"]


@pytest.fixture
def tile():
    return stained(Size(128, 96), seed=1)


@pytest.mark.parametrize("name", NAMES)
def test_the_cores_front_finds_every_method_and_normalizes(name, tile):
    expected = method(name).normalize(tile, preset(name.replace("_", "-")))

    out = sl.StainNormalizer(name).fit().transform(tile)

    assert np.array_equal(out, expected)


def test_the_readme_works(tile, tmp_path):
    normalizer = sl.StainNormalizer("macenko").fit("v3")

    out = normalizer.transform(tile)
    normalizer.save(tmp_path / "fit.json")

    assert np.array_equal(sl.StainNormalizer.load(tmp_path / "fit.json").transform(tile), out)
    assert normalizer.fit_values == {
        "stain_matrix_target": [[0.5062568, 0.2218694], [0.75322306, 0.8652155], [0.40691733, 0.42241502]],
        "target_concentrations": [1.7656903, 1.2797493],
    }


def test_a_batch_is_its_images(tile):
    batch = np.stack([tile, stained(Size(128, 96), seed=2)])
    normalizer = StainNormalizer("reinhard")

    out = normalizer.transform(batch)

    assert np.array_equal(out[0], normalizer.transform(batch[0]))
    assert np.array_equal(out[1], normalizer.transform(batch[1]))


@pytest.mark.parametrize("name", ["macenko", "reinhard-fast", "vahadane"])
def test_fitting_an_image_or_its_path_or_its_file_is_the_same(name, tile, tmp_path):
    target = stained(Size(150, 150), seed=9)
    cv2.imwrite(str(tmp_path / "target.png"), target[..., ::-1])
    expected = method(name).fit_image(target)

    by_array, by_path = StainNormalizer(name).fit(target), StainNormalizer(name).fit(str(tmp_path / "target.png"))
    by_path.save(tmp_path / "fit.json")
    by_file, by_values = (
        StainNormalizer(name).fit(tmp_path / "fit.json"),
        StainNormalizer(name).fit(by_array.fit_values),
    )

    for normalizer in (by_array, by_path, by_file, by_values):
        assert normalizer.fit_values == expected.as_table()


def test_the_fit_of_many_images_is_the_mean_of_those_that_can_be_measured(tmp_path):
    images = [stained(Size(100, 100), seed=seed) for seed in (1, 2, 3)]
    cv2.imwrite(str(tmp_path / "third.png"), images[2][..., ::-1])
    single = [method("reinhard").fit_image(image) for image in images]

    fitted = StainNormalizer("reinhard").fit(iter([images[0], GLASS, images[1], tmp_path / "third.png"]))
    batched = StainNormalizer("reinhard").fit([np.stack(images)])

    np.testing.assert_allclose(fitted.fit_values["target_means"], np.mean([f.target_means for f in single], axis=0))
    assert fitted.fit_values == batched.fit_values


def test_images_are_streamed_one_at_a_time():
    alive = []

    def images():
        for seed in range(5):
            alive.append(seed)
            yield stained(Size(64, 64), seed=seed)

    normalizer = StainNormalizer("reinhard")
    before = normalizer.fit_values

    normalizer.fit(images())

    assert alive == [0, 1, 2, 3, 4]
    assert normalizer.fit_values != before


def test_the_fit_of_slides_is_the_mean_over_slides():
    slides = [PixelsSlide(stained(Size(400, 400), seed=seed), mpp=2.0) for seed in (1, 2)]
    each = [StainNormalizer("macenko").fit_slides([slide]).fit_values["target_concentrations"] for slide in slides]

    both = StainNormalizer("macenko").fit_slides(slides)

    np.testing.assert_allclose(both.fit_values["target_concentrations"], np.mean(each, axis=0))


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere.png", "nowhere.png"),
        ([], "there is none"),
        ([GLASS], "no image can be a target for macenko.*tissue"),
        (GLASS, "no target for macenko.*tissue"),
        (7, "iterable of images"),
        ({"target_means": [1, 2, 3]}, "macenko"),
        (np.zeros((5, 5, 3)), "float64"),
    ],
    ids=str,
)
def test_what_cannot_be_a_target_says_so(target, message):
    with pytest.raises(ConfigError, match=message):
        StainNormalizer("macenko").fit(target)


@pytest.mark.parametrize(
    "x", [np.zeros((4, 4, 3)), np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), "x", None]
)
def test_what_is_no_image_says_so(x):
    with pytest.raises(ConfigError, match="not an image"):
        StainNormalizer("macenko").transform(x)


def test_unfit_images_are_kept_by_default_and_told(tile):
    batch = np.stack([tile, np.resize(GLASS, tile.shape)])
    normalizer = StainNormalizer("macenko")

    out, ok = normalizer.normalize(batch)

    assert ok.tolist() == [True, False]
    assert np.array_equal(out[1], batch[1])


def test_unfit_images_raise_where_they_are_to_be_rejected():
    with pytest.raises(ConfigError, match=r"1 of 1 images.*keep-original"):
        StainNormalizer("macenko", unfit="reject").transform(GLASS)


def test_context_takes_statistics_from_the_slide(tile):
    slide = PixelsSlide(stained(Size(600, 450), seed=3), mpp=2.0)
    by_slide = StainNormalizer("macenko").in_context(slide)
    by_thumbnail = StainNormalizer("macenko").in_context(slide.thumbnail(mpp=4.0))

    assert np.array_equal(by_slide.transform(tile), by_thumbnail.transform(tile))
    assert not np.array_equal(by_slide.transform(tile), StainNormalizer("macenko").transform(tile))
    assert np.array_equal(by_slide.in_context(None).transform(tile), StainNormalizer("macenko").transform(tile))


def test_context_for_unfit_images_only(tile):
    slide = PixelsSlide(stained(Size(600, 450), seed=3), mpp=2.0)
    normalizer = StainNormalizer("macenko", unfit="slide-fit").in_context(slide)

    assert np.array_equal(normalizer.transform(tile), StainNormalizer("macenko").transform(tile))
    assert normalizer.normalize(GLASS)[1].all()


def test_context_without_tissue_says_so():
    with pytest.raises(ConfigError, match=r"no context for macenko.*tissue"):
        StainNormalizer("macenko").in_context(np.full((100, 100, 3), 250, np.uint8))


def test_png_bytes_are_normalized_without_loss(tile):
    encoded = cv2.imencode(".png", tile[..., ::-1])[1].tobytes()
    normalizer = StainNormalizer("macenko")

    done = normalizer.transform_bytes(encoded)

    assert done.startswith(b"\x89PNG")
    out = cv2.imdecode(np.frombuffer(done, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.array_equal(out, normalizer.transform(tile))


def test_jpeg_bytes_stay_jpeg(tile):
    encoded = cv2.imencode(".jpg", tile[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    normalizer = sl.StainNormalizer("reinhard-fast")

    done = normalizer.transform_bytes(encoded)

    assert done.startswith(b"\xff\xd8")
    decoded = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    out = cv2.imdecode(np.frombuffer(done, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(out.astype(int) - normalizer.transform(decoded.copy())).mean() < 3


# A PNG that says it has 100,000 x 100,000 pixels: no decoder takes that many.
PARTS = [b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0), b"IDAT" + zlib.compress(b""), b"IEND"]
HUGE = b"\x89PNG\r\n\x1a\n" + b"".join(
    struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in PARTS
)


@pytest.mark.parametrize("encoded", [b"", b"hello", HUGE], ids=["empty", "text", "huge"])
def test_bytes_that_are_no_image_say_so(encoded):
    with pytest.raises(ConfigError, match="not an image"):
        StainNormalizer().transform_bytes(encoded)


@pytest.mark.parametrize("name", ["macenko", "reinhard-fast", "hsv-augment", "stain-augment"])
@pytest.mark.parametrize("call", ["augment", "transform"])
def test_augmentation_repeats_by_index_and_runs_on_without(name, call, tile):
    normalizer = sl.StainNormalizer(name, seed=5)

    def drawn(index=None):
        return (
            normalizer.augment(tile, index)
            if call == "augment"
            else normalizer.transform(tile, augment=True, index=index)
        )

    assert np.array_equal(drawn(3), drawn(3))
    assert not np.array_equal(drawn(3), drawn(4))
    assert not np.array_equal(drawn(), drawn())


@pytest.mark.parametrize("name", ["reinhard", "reinhard-fast", "reinhard-fast-mask"])
def test_reinhard_augments_around_the_own_values_and_transforms_around_the_fit(name, tile, textbook):
    form = {"bright": "fast" not in name, "masked": "mask" in name}
    values = textbook.reinhard_pixels(tile, **form)[1]
    noise = 3 * np.array(SPREAD[name.removesuffix("-mask")]) * normal(7, 0, np.array([4]), 6)[0]
    normalizer = sl.StainNormalizer(name, seed=7).fit("v1")
    fit = preset(name, "v1")

    for out, means, stds in (
        (normalizer.augment(tile, 4), values.mean(axis=0), values.std(axis=0)),
        (normalizer.transform(tile, augment=True, index=4), fit.target_means, fit.target_stds),
    ):
        expected = textbook.reinhard(tile, means + noise[:3], np.maximum(stds + noise[3:], 0.1 * stds), **form)
        assert np.abs(out - expected).max() <= 1


@pytest.mark.parametrize("name", ["macenko", "macenko-fast"])
def test_macenko_augments_around_the_own_stains_and_transforms_around_the_fit(name, tile, textbook):
    pixels = tile.reshape(-1, 3).astype(np.float64)
    own = textbook.macenko_stains(textbook.brightened(pixels) if name == "macenko" else pixels)
    noise = 3 * np.array(SPREAD[name]) * normal(7, 0, np.array([4]), 8)[0]
    normalizer = sl.StainNormalizer(name, seed=7).fit("v1")
    fit = preset(name, "v1")

    for out, (stains, strengths) in (
        (normalizer.augment(tile, 4), own),
        (normalizer.transform(tile, augment=True, index=4), (fit.stain_matrix_target, fit.target_concentrations)),
    ):
        goal = np.maximum(stains + noise[:6].reshape(3, 2), 0), np.maximum(strengths + noise[6:], 0.1 * strengths)
        assert np.abs(out - textbook.macenko(tile, *goal, bright=name == "macenko")).max() <= 1


def test_an_own_staining_that_is_not_varied_stays_as_it_is(tile):
    chosen = method("reinhard-fast")

    out = chosen.normalize(tile, chosen.fit_of)

    assert np.abs(out.astype(int) - tile).max() <= 1


def test_a_method_without_presets_asks_for_a_target(tile):
    normalizer = sl.StainNormalizer("reinhard-tissue")

    for use in (normalizer.transform, lambda _: normalizer.fit_values, lambda _: normalizer.save("x.json")):
        with pytest.raises(ConfigError, match=r"reinhard-tissue has no presets.*give an image"):
            use(tile)
    with pytest.raises(ConfigError, match="reinhard-tissue has no presets"):
        normalizer.fit("v3")
    target = stained(Size(150, 150), seed=9)
    expected = method("reinhard-tissue").normalize(tile, method("reinhard-tissue").fit_image(target))
    assert np.array_equal(normalizer.fit(target).transform(tile), expected)


@pytest.mark.parametrize("name", ["vahadane", "reinhard-tissue"])
def test_methods_without_a_published_spread_say_that_they_cannot_augment(name, tile):
    with pytest.raises(ConfigError, match=f"{name} has no published spread"):
        StainNormalizer(name).augment(tile)
    with pytest.raises(ConfigError, match=f"{name} has no published spread"):
        StainNormalizer(name).transform(tile, augment=True)


def test_hsv_augment_says_that_it_has_no_target():
    with pytest.raises(ConfigError, match="no target"):
        StainNormalizer("hsv-augment").fit("v3")


def test_a_normalizer_can_be_pickled(tile):
    normalizer = sl.StainNormalizer("macenko").fit("v2")

    again = pickle.loads(pickle.dumps(normalizer))

    assert np.array_equal(again.transform(tile), normalizer.transform(tile))


@pytest.mark.parametrize("name", ["macenko", "hsv-augment"])
def test_a_pickled_normalizer_goes_on_with_the_augmentation_it_had_come_to(name, tile):
    normalizer = StainNormalizer(name)
    normalizer.augment(np.stack([tile, tile]))
    stored = pickle.dumps(normalizer)

    assert b"itertools" not in stored  # whose pickling Python 3.14 has no more
    assert np.array_equal(pickle.loads(stored).augment(tile), normalizer.augment(tile, 2))


def test_an_unknown_method_names_the_known():
    with pytest.raises(ConfigError, match=r"macenkoo.*macenko, "):
        StainNormalizer("macenkoo")
    with pytest.raises(sl.PluginError, match="macenko"):
        sl.StainNormalizer("macenkoo")


def test_an_unknown_option_is_refused():
    with pytest.raises(ConfigError, match="speed"):
        sl.StainNormalizer("macenko", speed=3)


def test_an_unknown_policy_is_refused():
    with pytest.raises(ConfigError, match=r"unfit.*keep-original"):
        StainNormalizer("macenko", unfit="keep")
    with pytest.raises(ConfigError, match=r"spread.*v1"):
        StainNormalizer("macenko", spread="v9")
