"""PyTorch and TensorFlow forms: the numpy form's pixels, types, gradients, graphs and draws."""

import os

import numpy as np
import pytest
from slideloom import ConfigError, Size
from slideloom_stain.normalizer import StainNormalizer
from slideloom_stain.settings import HsvAugment, Macenko, Reinhard, ReinhardFast
from slideloom_testing import stained

NAMES = [
    "macenko", "macenko-fast", "reinhard", "reinhard-fast", "reinhard-mask", "reinhard-fast-mask", "vahadane",
    "hsv-augment",
]  # fmt: skip
AUGMENTED = [
    "macenko", "macenko-fast", "reinhard", "reinhard-fast", "reinhard-mask", "hsv-augment", "stain-augment",
]  # fmt: skip
GLASS = np.random.default_rng(5).normal(243, 1.5, (96, 96, 3)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def tf():
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    return pytest.importorskip("tensorflow")


@pytest.fixture(scope="module")
def images():
    """(4, 96, 96, 3): three stained images, one of them half glass, and one that cannot be measured."""
    half = stained(Size(96, 96), seed=7)
    half[:, 48:] = 244
    return np.stack([stained(Size(96, 96), seed=1), stained(Size(96, 96), seed=2, strength=0.6), half, GLASS])


def farthest(a, b):
    return np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max()


def normalizer_of(name, **options):
    return StainNormalizer(name, **options)


@pytest.mark.parametrize("name", NAMES)
def test_torch_is_numpy_within_one_grey_level(name, torch, images):
    normalizer, index = normalizer_of(name), np.arange(4)
    expected = normalizer.augment(images, index) if name == "hsv-augment" else normalizer.transform(images)
    x = torch.from_numpy(images)

    native, ok = normalizer.torch(native=True).normalize(x, torch.from_numpy(index))
    floating, _ = normalizer.torch().normalize(x.float() / 255, torch.from_numpy(index))

    assert native.dtype == torch.uint8
    assert farthest(native, expected) <= 1
    assert farthest(floating * 255, expected) <= 1
    assert ok.tolist() == [True, True, True, name == "hsv-augment"]


@pytest.mark.parametrize("name", NAMES)
def test_torch_is_numpy_within_one_grey_level_also_where_training_turned_autocast_on(name, torch, images):
    normalizer, index = normalizer_of(name), torch.arange(4)
    expected = normalizer.torch(native=True).normalize(torch.from_numpy(images), index)[0]

    with torch.autocast("cpu", dtype=torch.bfloat16):
        whole, _ = normalizer.torch(native=True).normalize(torch.from_numpy(images), index)

    assert farthest(whole, expected) == 0


@pytest.mark.parametrize("name", NAMES)
def test_no_product_is_one_that_a_processor_may_round(name, torch, images):
    # Which processors do is up to them; a program allows it by torch.set_float32_matmul_precision("medium").
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        normalizer_of(name).torch(native=True).normalize(torch.from_numpy(images[:1, :64, :64]), torch.arange(1))

    called = {event.key for event in profile.key_averages()}
    assert "aten::add" in called
    assert called.isdisjoint({"aten::matmul", "aten::mm", "aten::bmm", "aten::addmm", "aten::baddbmm"})


@pytest.mark.parametrize(
    ("name", "kind"), [("macenko", "half"), ("reinhard", "bfloat16"), *((name, "double") for name in NAMES)]
)
def test_a_model_that_takes_another_type_leaves_a_normalizer_its_own(name, kind, torch, images):
    form, x, index = normalizer_of(name).torch(native=True), torch.from_numpy(images[:1, :64, :64]), torch.arange(1)
    expected, ok = form.normalize(x, index)
    assert ok.all()

    model = getattr(torch.nn.Sequential(form, torch.nn.Conv2d(3, 1, 1)), kind)()

    assert next(model[1].parameters()).dtype == getattr(torch, kind)
    assert farthest(model[0].normalize(x, index)[0], expected) == 0


@pytest.mark.parametrize(
    ("n", "k", "m"), [(3, 3, 500), (2, 3, 500), (1, 3, 500), (3, 2, 500), (3, 500, 3), (2, 500, 3)]
)
def test_products_that_no_processor_rounds_are_those_of_matrices(n, k, m, torch):
    from slideloom_stain.torch_ops import exact_product

    random = np.random.default_rng(8)
    x, y = random.normal(size=(4, n, k)), random.normal(size=(4, k, m))
    for left, right in ((x, y), (x[0], y), (x[:1], y)):
        product = exact_product(torch.from_numpy(left), torch.from_numpy(right))

        assert product.shape == (4, n, m)
        np.testing.assert_allclose(product, left @ right, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_tensorflow_is_numpy_within_one_grey_level(name, tf, images):
    normalizer, index = normalizer_of(name), np.arange(4)
    expected = normalizer.augment(images, index) if name == "hsv-augment" else normalizer.transform(images)

    whole, ok = normalizer.tensorflow().normalize(tf.constant(images), tf.constant(index))
    floating, _ = normalizer.tensorflow().normalize(tf.constant(images / 255, tf.float32), tf.constant(index))

    assert whole.dtype == tf.uint8
    assert farthest(whole, expected) <= 1
    assert farthest(floating.numpy() * 255, expected) <= 1
    assert ok.numpy().tolist() == [True, True, True, name == "hsv-augment"]


@pytest.mark.parametrize("name", ["macenko", "macenko-fast", "reinhard", "reinhard-fast", "reinhard-mask", "vahadane"])
def test_all_forms_agree_on_real_tiles(name, torch, tf, real_tiles):
    tiles = np.stack(real_tiles[:5])
    normalizer = normalizer_of(name)
    expected = normalizer.transform(tiles)

    assert farthest(normalizer.torch(native=True)(torch.from_numpy(tiles)), expected) <= 1
    assert farthest(tf.function(normalizer.tensorflow())(tf.constant(tiles)), expected) <= 1


@pytest.mark.parametrize("name", AUGMENTED)
@pytest.mark.parametrize("around", ["target", "own"])
def test_the_same_tile_gets_the_same_draw_in_every_form(name, around, torch, tf, images):
    normalizer, index = normalizer_of(name, seed=9), np.array([5, 2**31 - 1, 70_000])

    def drawn(x):
        return normalizer.augment(x, index) if around == "own" else normalizer.transform(x, augment=True, index=index)

    expected = drawn(images[:3])

    native = normalizer.torch(augment=around, native=True)(torch.from_numpy(images[:3]), torch.from_numpy(index))

    assert farthest(native, expected) <= 1
    assert farthest(drawn(torch.from_numpy(images[:3])), expected) == 0
    assert farthest(drawn(tf.constant(images[:3])), expected) <= 1


def test_gradients_reach_an_own_staining_that_is_varied(torch, images):
    x = (torch.from_numpy(images) / 255.0).requires_grad_()

    normalizer_of("macenko").torch(augment="own")(x, torch.arange(4)).square().mean().backward()

    assert x.grad.isfinite().all()
    assert x.grad[:3].abs().sum() > 0


def test_draws_without_index_follow_torchs_generator(torch, images):
    normalizer = normalizer_of("reinhard-fast")
    x = torch.from_numpy(images[:2])
    with torch.random.fork_rng():
        torch.manual_seed(4)
        first = normalizer.augment(x)
        second = normalizer.augment(x)
        torch.manual_seed(4)
        again = normalizer.augment(x)

    assert torch.equal(first, again)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("native", [False, True])
def test_torch_layouts_are_kept(native, torch, images):
    form = normalizer_of("macenko").torch(native=native)
    last = torch.from_numpy(images[:2])
    first = last.permute(0, 3, 1, 2)
    expected = form(last)

    assert torch.equal(form(first), expected.permute(0, 3, 1, 2))
    assert torch.equal(form(first.contiguous()), expected.permute(0, 3, 1, 2))
    assert torch.equal(form(first[1]), expected[1].permute(2, 0, 1))
    assert torch.equal(form(last[1]), expected[1])
    assert form(first[1]).shape == (3, 96, 96)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_floating_torch_images_keep_their_type_and_range(dtype, torch, images):
    x = torch.from_numpy(images[:1]).to(getattr(torch, dtype)) / 255

    out = normalizer_of("reinhard-fast").transform(x)

    assert out.dtype == x.dtype
    assert float(out.min()) >= 0
    assert 0.5 < float(out.max()) <= 1.01


@pytest.mark.parametrize("shape", [(4, 4), (2, 4, 4, 4), (1, 2, 3, 4, 4), (4, 4, 1)])
def test_a_tensor_that_is_no_image_says_so(shape, torch):
    with pytest.raises(ConfigError, match="not an image"):
        normalizer_of("macenko").transform(torch.zeros(shape, dtype=torch.uint8))


@pytest.mark.parametrize("name", ["macenko", "macenko-fast", "reinhard", "reinhard-fast-mask", "hsv-augment"])
def test_gradients_are_finite_also_for_images_that_cannot_be_measured(name, torch, images):
    x = (torch.from_numpy(images) / 255.0).requires_grad_()
    black = torch.zeros(1, 3, 40, 40, requires_grad=True)
    form = normalizer_of(name).torch()

    form(x, torch.arange(4)).square().mean().backward()
    form(black, torch.arange(1)).square().mean().backward()

    assert x.grad.isfinite().all()
    assert x.grad.abs().sum() > 0
    assert black.grad.isfinite().all()


@pytest.mark.parametrize(
    "normalizer",
    [StainNormalizer("reinhard-fast"), StainNormalizer("macenko").in_context(stained(Size(300, 300), seed=3))],
    ids=["through the statistics", "through the map"],
)
def test_the_gradient_is_the_quotient_of_differences(normalizer, torch):
    tile = torch.from_numpy(stained(Size(24, 24), seed=1)).permute(2, 0, 1) / 255.0
    weight = torch.linspace(-1, 1, 24)  # Reinhard fixes the mean itself
    form = normalizer.torch()
    x = tile.clone().requires_grad_()
    (form(x) * weight).mean().backward()
    direction = torch.sign(x.grad)
    step = 1e-3

    rise = ((form(tile + step * direction) - form(tile - step * direction)) * weight).mean()

    assert float(rise) / (2 * step) == pytest.approx(float((x.grad * direction).sum()), rel=0.02)


@pytest.mark.parametrize("name", ["macenko", "reinhard-fast-mask", "hsv-augment"])
def test_torch_compiles_without_graph_breaks(name, torch, images):
    torch._dynamo.reset()
    form = normalizer_of(name).torch(augment=name == "macenko", native=True)
    x, index = torch.from_numpy(images), torch.arange(4)

    out = torch.compile(form, backend="eager", fullgraph=True)(x, index)

    assert farthest(out, form(x, index)) == 0


def test_a_module_has_no_weights_to_load(torch):
    form = normalizer_of("macenko").torch(augment=True)

    assert form.state_dict() == {}
    assert list(form.parameters()) == []


@pytest.mark.parametrize("settings", [Macenko(augment="v2"), Reinhard(), HsvAugment()], ids=lambda s: s.name)
def test_tf_data_maps_tiles_of_known_and_unknown_size(settings, tf, images):
    from slideloom_stain.tensorflow_form import TensorflowNormalizer

    form = TensorflowNormalizer(settings.build())
    index = np.arange(3)
    expected = settings.build().normalize(images[:3], 0, index).rgb
    known = tf.data.Dataset.from_tensor_slices((images[:3], index)).map(form)
    unknown = tf.data.Dataset.from_generator(
        lambda: zip(images[:3], index, strict=True),
        output_signature=(tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((), tf.int64)),
    ).map(form)

    assert known.element_spec.shape == (96, 96, 3)
    for dataset in (known, unknown, known.batch(2).unbatch()):
        assert farthest(np.stack(list(dataset.as_numpy_iterator())), expected) <= 1


def test_tf_data_maps_batches_of_unknown_number(tf, images):
    form = normalizer_of("vahadane").tensorflow()
    expected = normalizer_of("vahadane").transform(images)

    batches = tf.data.Dataset.from_tensor_slices(images).batch(3).map(form)

    assert farthest(np.concatenate(list(batches.as_numpy_iterator())), expected) <= 1


def test_reject_fails_in_a_tensorflow_graph(tf, images):
    form = normalizer_of("macenko", unfit="reject").tensorflow()

    with pytest.raises(tf.errors.InvalidArgumentError, match="cannot be estimated"):
        list(tf.data.Dataset.from_tensor_slices(images).map(form))


def test_reject_raises_in_torch(torch, images):
    with pytest.raises(ConfigError, match="1 of 4"):
        normalizer_of("macenko", unfit="reject").torch(native=True)(torch.from_numpy(images))


@pytest.mark.parametrize("name", ["macenko", "reinhard-mask", "vahadane"])
@pytest.mark.parametrize("unfit", ["keep-original", "slide-fit"])
def test_context_is_the_same_in_every_form(name, unfit, torch, tf, images):
    normalizer = normalizer_of(name, unfit=unfit).in_context(stained(Size(300, 300), seed=3))
    expected, ok = normalizer.normalize(images)

    native, native_ok = normalizer.torch(native=True).normalize(torch.from_numpy(images))
    graph, graph_ok = normalizer.tensorflow().normalize(tf.constant(images))

    assert ok.all()
    assert native_ok.all()
    assert graph_ok.numpy().all()
    assert farthest(native, expected) <= 1
    assert farthest(graph, expected) <= 1


def test_a_dataset_of_tensors_can_be_fitted(torch, tf, images):
    expected = normalizer_of("macenko").fit([images[0], images[1]]).fit_values

    planar = torch.from_numpy(images[:2]).permute(0, 3, 1, 2)
    by_torch = normalizer_of("macenko").fit(planar[i] for i in range(2)).fit_values
    by_loader = normalizer_of("macenko").fit([planar / 255.0]).fit_values
    by_tf = normalizer_of("macenko").fit(tf.data.Dataset.from_tensor_slices(images[:2])).fit_values

    assert by_torch == expected
    assert by_loader == expected
    assert by_tf == expected


def test_numpy_path_of_torch_does_not_touch_its_input(torch, images):
    x = torch.from_numpy(images.copy())
    before = x.clone()

    ReinhardFast().build()
    normalizer_of("reinhard-fast").transform(x)

    assert torch.equal(x, before)
