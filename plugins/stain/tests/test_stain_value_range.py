"""Floating images are 0 to 1: another range is refused, and a tile with NaN costs nobody but itself."""

import os

import numpy as np
import pytest
from slideloom import ConfigError, Size
from slideloom_stain.normalizer import StainNormalizer
from slideloom_testing import stained

NAMES = [
    "macenko", "macenko-fast", "reinhard", "reinhard-fast", "reinhard-mask", "reinhard-fast-mask", "vahadane",
    "hsv-augment",
]  # fmt: skip
WRONG = {
    "0 to 255": (lambda unit: unit * 255, r"from 0 to 1, this one has [\d.]+ to 2\d\d.*; divide by 255, or give uint8"),
    "-1 to 1": (lambda unit: unit * 2 - 1, r"this one has -[\d.]+ to [\d.]+; bring them to 0-1"),
    "0 to 65535": (lambda unit: unit * 65535, r"this one has [\d.]+ to [\d.e+]+; bring them to 0-1"),
    "infinite": (lambda unit: unit / 0, "to inf"),
}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def tf():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def unit():
    """(3, 64, 64, 3) float32, 0 to 1."""
    return np.stack([stained(Size(64, 64), seed=seed) for seed in (1, 2, 3)]).astype(np.float32) / 255


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", WRONG)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_another_range_is_refused_in_every_form(name, kind, torch, tf, unit):
    change, message = WRONG[kind]
    normalizer, wrong = StainNormalizer(name), change(unit)

    for x in (torch.from_numpy(wrong), torch.from_numpy(wrong).permute(0, 3, 1, 2), tf.constant(wrong)):
        with pytest.raises(ValueError, match=message):
            normalizer.transform(x)
        with pytest.raises(ValueError, match=message):
            normalizer.normalize(x[0])


@pytest.mark.parametrize("name", ["macenko", "hsv-augment"])
def test_another_range_fails_in_a_tensorflow_graph(name, tf, unit):
    dataset = tf.data.Dataset.from_tensor_slices(unit * 255).map(StainNormalizer(name).tensorflow())

    with pytest.raises(tf.errors.InvalidArgumentError, match="values from 0 to 1, this one has others; divide by 255"):
        list(dataset)


@pytest.mark.parametrize("dtype", ["int16", "int32", "int64"])
def test_whole_numbers_other_than_uint8_are_refused(dtype, torch, tf, unit):
    wrong = (unit * 255).astype(dtype)

    for x in (torch.from_numpy(wrong), tf.constant(wrong)):
        with pytest.raises(ConfigError, match=rf"not an image: values of type .*{dtype}; give uint8"):
            StainNormalizer("macenko").transform(x)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_what_rounding_and_resampling_leave_beside_0_to_1_is_an_image(dtype, torch, unit):
    x = torch.from_numpy(unit.copy()).to(getattr(torch, dtype))
    x[:, 0, 0] = torch.tensor([-0.005, 1.005, 1.0], dtype=x.dtype)

    out, ok = StainNormalizer("reinhard-fast").normalize(x)

    assert ok.all()
    assert out.dtype == x.dtype
    assert out.isfinite().all()


@pytest.mark.parametrize("name", NAMES)
def test_a_tile_with_nan_is_not_good_and_the_others_are_as_without_it(name, torch, tf, unit):
    normalizer, damaged = StainNormalizer(name, seed=3), unit.copy()
    damaged[1, 5, 7, 2] = np.nan
    others = [0, 2]
    index = np.arange(3)

    for form, tensor in (
        (normalizer.torch(), torch.from_numpy),
        (normalizer.tensorflow(), tf.constant),
        (tf.function(normalizer.tensorflow().normalize), tf.constant),
    ):
        run = getattr(form, "normalize", form)
        expected, good = run(tensor(unit), tensor(index))
        out, ok = run(tensor(damaged), tensor(index))
        assert np.asarray(good).all()
        assert np.asarray(ok).tolist() == [True, False, True]
        assert np.array_equal(np.asarray(out)[others], np.asarray(expected)[others])
        assert np.array_equal(np.asarray(out)[1], damaged[1], equal_nan=True)


def test_a_tile_with_nan_is_rejected_where_unfit_tiles_are(torch, unit):
    damaged = torch.from_numpy(unit.copy())
    damaged[1] = np.nan

    with pytest.raises(ConfigError, match="1 of 3"):
        StainNormalizer("macenko", unfit="reject").transform(damaged)


def test_a_context_does_not_make_a_tile_with_nan_good(torch, unit):
    damaged = torch.from_numpy(unit.copy())
    damaged[1] = np.nan
    normalizer = StainNormalizer("macenko", unfit="slide-fit").in_context(stained(Size(300, 300), seed=3))

    assert normalizer.normalize(damaged)[1].tolist() == [True, False, True]


def test_compiled_code_marks_what_it_cannot_refuse(torch, unit):
    torch._dynamo.reset()
    form = StainNormalizer("reinhard-fast").torch(native=True)
    batch = torch.from_numpy(unit.copy())
    batch[0] *= 255
    batch[1] = np.nan

    out, ok = torch.compile(form.normalize, backend="eager", fullgraph=True)(batch)

    assert ok.tolist() == [False, False, True]
    assert torch.equal(out[0], batch[0])


def test_gradients_stay_finite_beside_a_tile_with_nan(torch, unit):
    x = torch.from_numpy(unit.copy())
    x[1, 0, 0, 0] = np.nan
    x.requires_grad_()

    StainNormalizer("macenko").torch()(x)[[0, 2]].square().mean().backward()

    assert x.grad[[0, 2]].isfinite().all()
    assert x.grad[[0, 2]].abs().sum() > 0


@pytest.mark.parametrize(("x", "message"), [(255.0, "0 to 255|divide by 255"), (np.nan, "holds NaN")])
def test_a_target_image_of_another_range_is_refused(x, message, torch, unit):
    with pytest.raises((ValueError, ConfigError), match=message):
        StainNormalizer("macenko").fit(torch.from_numpy(unit[0]) * x)


def test_an_empty_batch_stays_empty(torch):
    out, ok = StainNormalizer("reinhard-fast").normalize(torch.zeros(0, 3, 8, 8))

    assert out.shape == (0, 3, 8, 8)
    assert ok.shape == (0,)


RANGES = [(0.0, 255.0), (-1.0, 1.0), (-0.5, 0.5)]


@pytest.mark.parametrize("value_range", RANGES)
@pytest.mark.parametrize("name", ["macenko", "reinhard", "hsv-augment"])
def test_a_stated_range_gives_the_same_image_in_that_range(name, value_range, torch, tf, unit):
    black, white = value_range
    normalizer, index = StainNormalizer(name), np.arange(3)

    for form, stated, tensor in (
        (normalizer.torch(), normalizer.torch(value_range=value_range), torch.from_numpy),
        (normalizer.tensorflow(), normalizer.tensorflow(value_range=value_range), tf.constant),
    ):
        expected, good = form.normalize(tensor(unit), tensor(index))
        out, ok = stated.normalize(tensor(unit * (white - black) + black), tensor(index))
        found = (np.asarray(out) - black) / (white - black)
        assert np.asarray(ok).tolist() == np.asarray(good).tolist() == [True] * 3
        assert np.abs(found - np.asarray(expected)).mean() < 1e-4  # rounding moves single pixels at thresholds


@pytest.mark.parametrize("value_range", RANGES)
def test_values_outside_a_stated_range_are_refused_and_nan_is_not_good(value_range, torch, tf, unit):
    black, white = value_range
    images, outside, damaged = (unit.copy() * (white - black) + black for _ in range(3))
    outside[0, 0, 0] = white + 0.02 * (white - black)
    damaged[0, 0, 0] = np.nan
    said = f"from {black:g} to {white:g}, this one has .*; bring them to {black:g} to {white:g}, or give uint8"

    for form, tensor in (
        (StainNormalizer("macenko").torch(value_range=value_range), torch.from_numpy),
        (StainNormalizer("macenko").tensorflow(value_range=value_range), tf.constant),
    ):
        with pytest.raises(ValueError, match=said):
            form(tensor(outside))
        assert np.asarray(form.normalize(tensor(images))[1]).all()
        assert np.asarray(form.normalize(tensor(damaged))[1]).tolist() == [False, True, True]


@pytest.mark.parametrize("wrong", [(1.0, 0.0), (0.0, 0.0), (0.0, float("nan")), (0.0, float("inf"))])
def test_a_range_that_is_none_is_refused(wrong, torch):
    with pytest.raises(ConfigError, match="value_range must be two numbers, the first below the second"):
        StainNormalizer("macenko").torch(value_range=wrong)


@pytest.mark.parametrize("name", ["macenko", "reinhard-fast-mask"])
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_tensorflow_takes_channels_first_as_torch_does(name, dtype, tf, unit):
    images = (unit * 255).astype(np.uint8) if dtype == "uint8" else unit
    form = StainNormalizer(name).tensorflow()
    planes = np.ascontiguousarray(images.transpose(0, 3, 1, 2))

    expected, good = form.normalize(tf.constant(images))
    for run, most in ((form.normalize, 0), (tf.function(form.normalize), 1)):  # a graph may round in another order
        out, ok = run(tf.constant(planes))
        assert out.shape == (3, 3, 64, 64)
        gap = np.abs(out.numpy().transpose(0, 2, 3, 1).astype(float) - expected.numpy())
        assert gap.max() <= most * (1 if dtype == "uint8" else 1 / 255)
        assert ok.numpy().tolist() == good.numpy().tolist()
    single = form(tf.constant(planes[0]))
    assert np.array_equal(single.numpy().transpose(1, 2, 0), expected[0].numpy())
    for wrong in (planes[:, :2], images[..., :2], images[0, 0]):
        with pytest.raises(ConfigError, match="not an image"):
            form(tf.constant(wrong))
