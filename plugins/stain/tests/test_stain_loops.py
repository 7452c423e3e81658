"""The loops over pixels: the compiled form and the one in numpy against each other and against numpy's functions."""

import copy
import itertools
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from slideloom import Size
from slideloom_stain import lab
from slideloom_stain.fastest import FASTEST, NUMPY
from slideloom_stain.fits import FAMILIES, Unfit, preset
from slideloom_stain.loops import POWERS, STRIP, Ranks
from slideloom_stain.methods import method
from slideloom_testing import stained

COMPILED = FASTEST is not NUMPY
needs_compiled = pytest.mark.skipif(not COMPILED, reason="the stain plugin was installed without a compiler")
FORMS = [pytest.param(FASTEST, id="compiled", marks=needs_compiled), pytest.param(NUMPY, id="numpy")]
METHODS = list(FAMILIES)
UNIT = 2.0**18  # whole numbers of density per unit of density


def in_numpy(name):
    """The method as it is where nothing was compiled."""
    chosen = copy.copy(method(name))
    chosen.loops = NUMPY
    return chosen


def any_fit(name):
    return preset(name.replace("tissue", "mask"))


def made_tiles():
    """Tiles of one pixel, of odd sizes, of one colour, of extremes, of noise, and of stains in and beside glass."""
    rng = np.random.default_rng(7)
    sizes = [(1, 1), (1, 3), (5, 1), (3, 7), (17, 31), (64, 64), (1, 1025), (255, 301)]
    yield from (rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in sizes)
    yield from (np.full((40, 33, 3), value, np.uint8) for value in (0, 1, 150, 254, 255))
    yield rng.choice(np.array([0, 255], np.uint8), (61, 67, 3))
    yield rng.normal(243, 2, (150, 149, 3)).clip(0, 255).astype(np.uint8)
    yield np.repeat(np.linspace(0, 255, 4096).astype(np.uint8).reshape(64, 64, 1), 3, axis=2)
    yield from (stained(Size(299, 299), seed=seed, strength=strength) for seed, strength in ((1, 1.0), (2, 0.4)))
    yield stained(Size(101, 57), seed=3)
    half = stained(Size(299, 299), seed=4)
    half[:, 40:] = 243
    yield half
    dark = stained(Size(120, 121), seed=5) // 6
    yield dark
    dense = stained(Size(299, 299), seed=6)
    yield (dense * np.array([0.7, 0.5, 0.7])).astype(np.uint8)


@pytest.fixture(scope="module")
def every_tile(real_tiles):
    return [*made_tiles(), *real_tiles, real_tiles[0][:1, :1], real_tiles[2][5:106, 3:60].copy()]


def outcome(chosen, tile, fit):
    """What a method makes of a tile: pixels and statistics, or why it does not."""
    try:
        statistics = chosen.fit_of(chosen.measure(tile)).as_table()
    except Unfit as error:
        return None, str(error)
    return chosen.normalize(tile, fit), statistics


@needs_compiled
@pytest.mark.parametrize("name", METHODS)
def test_what_was_compiled_gives_the_bytes_and_statistics_of_numpy(name, every_tile):
    fit, measured = any_fit(name), 0
    for tile in every_tile:
        compiled, plain = outcome(method(name), tile, fit), outcome(in_numpy(name), tile, fit)

        assert compiled[1] == plain[1]
        if compiled[0] is not None:
            measured += 1
            assert np.array_equal(compiled[0], plain[0])
    assert measured >= 10


@needs_compiled
@pytest.mark.parametrize("name", METHODS)
def test_rendering_by_the_statistics_of_another_tile_gives_the_bytes_of_numpy(name, every_tile, real_tiles):
    fit = any_fit(name)
    statistics = method(name).measure(real_tiles[0])
    for tile in every_tile:
        expected = in_numpy(name).render(tile, statistics, fit)

        assert np.array_equal(method(name).render(tile, statistics, fit), expected)


@pytest.mark.parametrize("name", METHODS)
def test_threads_and_the_tiles_before_do_not_change_a_tile(name, real_tiles):
    fit, chosen = any_fit(name), method(name)
    alone = [chosen.normalize(tile, fit) for tile in real_tiles]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda tile: chosen.normalize(tile, fit), real_tiles * 3))

    for expected, found in zip(alone * 3, together, strict=True):
        assert np.array_equal(expected, found)


@pytest.mark.parametrize("loops", FORMS)
@pytest.mark.parametrize("count", [3, 300, 30003])
def test_ranked_values_are_those_of_the_sorted_ones(loops, count):
    rng = np.random.default_rng(count)
    for rgb in (
        rng.integers(0, 256, (1, count // 3, 3), dtype=np.uint8),
        rng.binomial(255, 0.7, (count // 3, 1, 3)).astype(np.uint8),
        rng.choice(np.array([0, 255], np.uint8), (1, count // 3, 3)),
    ):
        ordered = np.sort(rgb, axis=None)
        for rank in {0, 1, count // 2, int(0.9 * count), count - 2, count - 1}:
            assert loops.ranked(rgb, rank) == (ordered[rank], ordered[min(rank + 1, count - 1)])


@pytest.mark.parametrize("loops", FORMS)
def test_moments_are_exact(loops):
    rgb = np.random.default_rng(5).integers(0, 256, (301, 299, 3), dtype=np.uint8)
    rgb[:9] = 0  # the densest
    table = np.rint(-np.log((np.arange(256) + 1) / 255) * UNIT).astype(np.float32)
    least = float(table[200])
    planes = np.empty((3, 301 * 299), np.float32)

    found = loops.densities(rgb, table, least, planes)

    densities = table.astype(int)[rgb.reshape(-1, 3)]
    assert np.array_equal(planes, densities.T)
    tissue = densities[(rgb.reshape(-1, 3) <= 200).all(axis=1)]
    pairs = [sum(int(a) * int(b) for a, b in zip(tissue[:, i], tissue[:, j], strict=True))
             for i, j in itertools.combinations_with_replacement(range(3), 2)]  # fmt: skip
    assert found == [len(tissue), *tissue.sum(axis=0).tolist(), *pairs]


@pytest.mark.parametrize("loops", FORMS)
@pytest.mark.parametrize("percent", [99.0, 90.0, 50.0, 100.0])
@pytest.mark.parametrize("count", [1, 2, 101, 1025, 89401])
def test_percentiles_of_projections_are_numpys(loops, percent, count):
    planes = np.random.default_rng(count).standard_normal((3, count)).astype(np.float32)
    directions = np.array([[1, 0, 0], [0, 0, -1]], np.float32)
    ranks = Ranks.of_percentile(count, percent)

    found = [ranks.between(pair) for pair in loops.largest(planes, directions, ranks)]

    expected = np.percentile(np.stack([planes[0], -planes[2]]).astype(np.float64), percent, axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("loops", FORMS)
def test_the_largest_values_are_found_where_the_sample_misleads(loops):
    planes = np.zeros((3, 16000), np.float32)
    planes[0, ::16] = 5  # all that the sample sees
    planes[1] = np.arange(16000) % 64 != 0  # nothing that the sample sees
    directions = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    ranks = Ranks.of_percentile(16000, 90)

    assert loops.largest(planes, directions, ranks).tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("loops", FORMS)
@pytest.mark.parametrize("percent", [99.0, 50.0])
def test_the_largest_values_are_exact_among_ties_and_far_ones(loops, percent):
    rng = np.random.default_rng(1)
    planes = np.stack(
        [rng.integers(0, 4, 40000), rng.standard_normal(40000) ** 9 * 1e6, rng.choice([-3e38, 1e-30, 3e38], 40000)]
    ).astype(np.float32)
    ranks = Ranks.of_percentile(40000, percent)
    for pair in ((0, 1), (2, 1), (0, 2)):
        directions = np.eye(3, dtype=np.float32)[list(pair)]
        ordered = -np.sort(-planes[list(pair)], axis=1)

        with np.errstate(over="ignore", invalid="ignore"):
            found = loops.largest(planes, directions, ranks)

        assert np.array_equal(found, ordered[:, [ranks.first, ranks.need - 1]])


@needs_compiled
def test_what_is_no_number_counts_nowhere():
    from slideloom_stain import _kernels

    planes = np.random.default_rng(2).standard_normal((3, 9000)).astype(np.float32)
    planes[1, 1::2] = np.nan
    directions = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    room, found = np.empty((2, 9000), np.float32), np.empty((2, 2), np.float32)

    assert _kernels.largest(planes, directions, False, 0.0, 1.0, (90, 92, 5), room, found)

    expected = -np.sort(-planes[:2, ::2], axis=1)
    assert np.array_equal(found, expected[:, [90, 91]])


@pytest.mark.parametrize("loops", FORMS)
@pytest.mark.parametrize("count", [101, 2000, 89401])
def test_slopes_are_those_of_tissue(loops, count):
    rng = np.random.default_rng(count)
    planes = rng.uniform(0, 2, (3, count)).astype(np.float32)
    directions = np.array([[1, 0, 0], [0, 1, -1]], np.float32)
    tissue = planes[:, planes.min(axis=0) >= np.float32(0.5)]
    slopes = (tissue[1] - tissue[2]) / tissue[0]
    ranks = Ranks.of_percentile(slopes.size, 99)

    high, low = loops.largest_slopes(planes, directions, ranks, least=0.5, ahead=1e-6)

    np.testing.assert_allclose(ranks.between(high), np.percentile(slopes, 99), atol=1e-6)
    np.testing.assert_allclose(-ranks.between(low), np.percentile(slopes, 1), atol=1e-6)


@pytest.mark.parametrize("loops", FORMS)
def test_there_are_no_slopes_where_a_pixel_of_tissue_lies_behind(loops):
    planes = np.ones((3, 5000), np.float32)
    planes[:, 4321] = (-3, 1, 1)
    directions = np.array([[1, 1, 0], [0, 1, -1]], np.float32)
    ranks = Ranks.of_percentile(4999, 99)

    assert loops.largest_slopes(planes, directions, ranks, least=-4.0, ahead=1e-6) is None
    assert loops.largest_slopes(planes, directions, ranks, least=0.5, ahead=1e-6) is not None


@pytest.mark.parametrize("loops", FORMS)
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (1, 6), (1, 7), (33, 31)])
def test_products_are_rounded_to_the_nearest_byte_halves_to_even(loops, shape):
    rng = np.random.default_rng(shape[1])
    rgb = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    factors = np.ones((3, 256, 4), np.float32)
    factors[0, :, :3] = np.arange(256)[:, None] * [1.5, 0.25, 0.5]
    factors[1, :, 1] = np.arange(256) / 16
    factors[2] *= 2
    out = np.full((*shape, 3), 7, np.uint8)

    loops.multiplied(rgb, factors, out)

    red, green = (rgb[..., channel].astype(np.float64) for channel in (0, 1))
    exact = np.stack([red * 3, red * 0.5 * green / 16, red], axis=-1)
    assert np.array_equal(out, np.minimum(np.rint(exact), 255))


@pytest.mark.parametrize("loops", FORMS)
def test_nearly_parallel_stains_do_not_overflow(loops, textbook):
    tile = stained(Size(64, 64), seed=9)
    tile[:8] = 0
    chosen = copy.copy(method("macenko-fast"))
    chosen.loops = loops
    fit, statistics = preset("macenko-fast"), chosen.measure(tile)
    target = fit.stain_matrix_target * (fit.target_concentrations / statistics.strengths)
    steep = statistics.unmix * 40
    object.__setattr__(statistics, "unmix", steep)

    out = chosen.render(tile, statistics, fit)

    through = textbook.density(tile.reshape(-1, 3).astype(np.float64)) @ (target @ steep).T
    expected = np.exp(np.minimum(math.log(255) - through, math.log(255)))
    assert np.abs(out.reshape(-1, 3) - expected).max() <= 1


def every_light():
    """Linear light from 0 to 1, fine in the dark."""
    return np.concatenate([np.linspace(0, 1, 100001), np.geomspace(1e-6, 1, 100001)])


def test_the_cube_root_is_within_seven_ten_millionths_of_the_formula():
    light = every_light().astype(np.float32)
    exact = np.where(light > (6 / 29) ** 3, np.cbrt(light.astype(np.float64)), light * (29 / 6) ** 2 / 3 + 4 / 29)

    root, again, room = (np.empty_like(light) for _ in range(3))
    lab.roots_of(light, out=root, room=(again, room))
    lab.lights_of(root, out=again, room=room)

    assert np.abs(root / exact - 1).max() <= 7e-7
    np.testing.assert_allclose(again, light, rtol=4e-6, atol=1e-6)


def test_greys_are_within_a_thirtieth_of_a_level_of_the_standard():
    light = every_light().astype(np.float32)
    exact = 255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light.astype(np.float64) ** (1 / 2.4) - 0.055)

    assert np.abs(lab.GREYS[lab.grey_index(light.copy())] - exact).max() <= 0.5 + 1 / 30
    assert lab.GREYS[lab.grey_index(np.array([-1, 0, 1, 2], np.float32))].tolist() == [0, 0, 255, 255]


@pytest.mark.parametrize("loops", FORMS)
@pytest.mark.parametrize("on_tissue", [False, True])
def test_lab_moments_are_those_of_the_textbook(loops, on_tissue, textbook):
    rgb = np.random.default_rng(3).integers(0, 256, (119, 97, 3), dtype=np.uint8)
    rgb[:50] = np.maximum(rgb[:50], 240)
    rgb[50:60] //= 16
    count = rgb.size // 3
    planes = np.empty((3, count), np.float32)
    linear = lab.linear_light(np.arange(256) / 255).astype(np.float32)

    tissue, x, y, z, *squares = loops.roots(rgb, linear, (93 + 16) / 116, planes, on_tissue=on_tissue)

    values = textbook.lab(rgb.reshape(-1, 3).astype(np.float64))
    dark = values[:, 0] < 93
    assert tissue == dark.sum()
    assert 1000 < tissue < count - 1000
    roots = np.stack([(values[:, 0] + 16) / 116, values[:, 1] / 500, values[:, 2] / 200])
    np.testing.assert_allclose([planes[1], planes[0] - planes[1], planes[1] - planes[2]], roots, atol=1.4e-6)
    counted = roots[:, dark] if on_tissue else roots
    np.testing.assert_allclose(np.array([y, x - y, y - z]) / 2**20, counted.sum(axis=1), atol=1.4e-6 * count)
    np.testing.assert_allclose(np.array(squares) / 2**40, (counted**2).sum(axis=1), rtol=1e-4)


@pytest.mark.parametrize("loops", FORMS)
def test_stains_are_learnt_as_the_textbook_learns_them(loops, textbook):
    tile = stained(Size(64, 64), seed=3)
    pixels = tile.reshape(-1, 3).astype(np.float64)
    expected = textbook.vahadane_stains(pixels, rounds=100)
    chosen = pixels[textbook.lab(pixels)[:, 0] < 80]
    planes = np.zeros((3, -(-len(chosen) // STRIP) * STRIP), np.float32)
    planes[:, : len(chosen)] = textbook.density(chosen).T
    start = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])
    start /= np.linalg.norm(start, axis=1, keepdims=True)

    found = loops.learned(planes, start, penalty=0.1, rounds=400, passes=10)

    found = found / np.linalg.norm(found, axis=1, keepdims=True)
    np.testing.assert_allclose(found[np.argsort(-found[:, 0])], expected, atol=1e-3)


@pytest.mark.parametrize("loops", FORMS)
def test_learning_stops_where_stains_are_parallel_or_without_strength(loops):
    planes = np.zeros((3, STRIP), np.float32)
    for stains in (np.ones((2, 3)), np.zeros((2, 3)), np.array([[1.0, 0, 0], [0, 1, 0]])):
        assert np.array_equal(loops.learned(planes, stains, penalty=0.1, rounds=9, passes=5), stains)


@pytest.mark.parametrize("loops", FORMS)
def test_darker_is_the_textbooks_lightness(loops, textbook):
    rgb = np.random.default_rng(8).integers(0, 256, (91, 97, 3), dtype=np.uint8)
    parts = lab.luminance_parts(np.arange(256.0))

    found = loops.darker(rgb, parts, lab.luminance_limit(60.0))

    assert np.array_equal(found.reshape(-1), textbook.lab(rgb.reshape(-1, 3).astype(np.float64))[:, 0] < 60)


@needs_compiled
def test_the_compiled_loops_refuse_what_does_not_fit_together():
    from slideloom_stain import _kernels

    rgb, out = np.zeros((5, 4, 3), np.uint8), np.zeros((5, 4, 3), np.uint8)
    table, planes, sums = np.zeros(256, np.float32), np.zeros((3, 20), np.float32), np.zeros((10, 2), np.uint64)
    directions, room, found = np.ones((2, 3), np.float32), np.zeros((2, 20), np.float32), np.zeros((2, 2), np.float32)
    factors, moments = np.ones((3, 256, 4), np.float32), np.zeros((7, 2), np.uint64)
    change, bright = np.eye(3, 4, dtype=np.float32), np.arange(256, dtype=np.uint8)
    _kernels.densities(rgb, table, 0.0, planes, sums)
    assert _kernels.largest(planes, directions, False, 0.0, 1.0, (0, 2, 1), room, found)
    _kernels.multiplied(rgb, factors, out)
    _kernels.roots(rgb, table, lab.CONSTANTS, 0.9, False, planes, moments)
    _kernels.colours(planes, lab.CONSTANTS, change, lab.GREYS, True, 0.9, rgb, bright, out)
    shifted = np.roll(lab.CONSTANTS, 1)
    parts, dark = np.zeros((3, 256), np.int32), np.zeros((5, 4), np.uint8)
    maps, stains = np.ones((4, 4), np.float32), np.ones((2, 3), np.float32)
    strip, learnt = np.zeros((3, STRIP), np.float32), np.ones((2, 3))
    _kernels.darker(rgb, parts, 5, dark)
    _kernels.learned(strip, 0.1, 3, 5, learnt)
    _kernels.separated(rgb, table, maps, stains, POWERS, parts, 5, bright, out)

    for wrong in (
        lambda: _kernels.ranked(rgb, 60),
        lambda: _kernels.ranked(rgb, -1),
        lambda: _kernels.densities(rgb[:4], table, 0.0, planes, sums),
        lambda: _kernels.densities(rgb, table[:255], 0.0, planes, sums),
        lambda: _kernels.densities(rgb, table.astype(np.float64), 0.0, planes, sums),
        lambda: _kernels.densities(rgb, table, 0.0, planes, sums[:9]),
        lambda: _kernels.densities(rgb, table, math.nan, planes, sums),
        lambda: _kernels.densities(rgb, table + 2**21, 0.0, planes, sums),
        lambda: _kernels.densities(rgb, table * math.nan, 0.0, planes, sums),
        lambda: _kernels.densities(rgb[:, ::2], table, 0.0, planes, sums),
        lambda: _kernels.largest(planes, directions, False, 0.0, 1.0, (19, 21, 1), room, found),
        lambda: _kernels.largest(planes, directions, False, 0.0, 1.0, (-1, 1, 1), room, found),
        lambda: _kernels.largest(planes, directions, False, 0.0, 1.0, (0, 3, 1), room, found),
        lambda: _kernels.largest(planes, directions, False, 0.0, 1.0, (0, 2, 0), room, found),
        lambda: _kernels.largest(planes, directions, False, 0.0, 1.0, (0, 2, 1), room[:1], found),
        lambda: _kernels.largest(planes, directions, False, 0.0, 1.0, (0, 2, 1), room, found[:1]),
        lambda: _kernels.largest(planes, directions[:1], False, 0.0, 1.0, (0, 2, 1), room, found),
        lambda: _kernels.largest(planes, directions, True, 0.0, 0.0, (0, 2, 1), room, found),
        lambda: _kernels.largest(planes, directions, True, 9.0, 1.0, (0, 2, 1), room, found),
        lambda: _kernels.largest(planes, directions * math.nan, False, 0.0, 1.0, (0, 2, 1), room, found),
        lambda: _kernels.multiplied(rgb, factors[:2], out),
        lambda: _kernels.multiplied(rgb, factors, out[:4]),
        lambda: _kernels.roots(rgb[:4], table, lab.CONSTANTS, 0.9, False, planes, moments),
        lambda: _kernels.roots(rgb, table + 2, lab.CONSTANTS, 0.9, False, planes, moments),
        lambda: _kernels.roots(rgb, table * math.nan, lab.CONSTANTS, 0.9, False, planes, moments),
        lambda: _kernels.roots(rgb, table, lab.CONSTANTS[:-1], 0.9, False, planes, moments),
        lambda: _kernels.roots(rgb, table, lab.CONSTANTS, 0.9, False, planes, sums[:6]),
        lambda: _kernels.colours(planes[:2], lab.CONSTANTS, change, lab.GREYS, True, 0.9, rgb, bright, out),
        lambda: _kernels.colours(planes, shifted, change, lab.GREYS, True, 0.9, rgb, bright, out),
        lambda: _kernels.colours(planes, lab.CONSTANTS, change[:2], lab.GREYS, True, 0.9, rgb, bright, out),
        lambda: _kernels.colours(planes, lab.CONSTANTS, change, lab.GREYS[:-1], True, 0.9, rgb, bright, out),
        lambda: _kernels.colours(planes, lab.CONSTANTS, change, lab.GREYS, True, 0.9, rgb[:4], bright, out),
        lambda: _kernels.colours(planes, lab.CONSTANTS, change, lab.GREYS, True, 0.9, rgb, bright[:9], out),
        lambda: _kernels.colours(planes, lab.CONSTANTS, change, lab.GREYS, True, 0.9, rgb, bright, out[:4]),
        lambda: _kernels.darker(rgb, parts - 1, 5, dark),
        lambda: _kernels.darker(rgb, parts[:2], 5, dark),
        lambda: _kernels.darker(rgb, parts, 5, dark[:4]),
        lambda: _kernels.learned(planes, 0.1, 3, 5, learnt),
        lambda: _kernels.learned(strip, 0.1, 3, 5, learnt[:1]),
        lambda: _kernels.separated(rgb[:4], table, maps, stains, POWERS, parts, 5, bright, out),
        lambda: _kernels.separated(rgb, table[:9], maps, stains, POWERS, parts, 5, bright, out),
        lambda: _kernels.separated(rgb, table, maps[:3], stains, POWERS, parts, 5, bright, out),
        lambda: _kernels.separated(rgb, table, maps, stains[:1], POWERS, parts, 5, bright, out),
        lambda: _kernels.separated(rgb, table, maps, stains, POWERS[:4], parts, 5, bright, out),
        lambda: _kernels.separated(rgb, table, maps, stains, POWERS, parts + 2**29, 5, bright, out),
        lambda: _kernels.separated(rgb, table, maps, stains, POWERS, parts, 5, bright[:9], out),
        lambda: _kernels.separated(rgb, table, maps, stains, POWERS, parts, 5, bright, out[:4]),
    ):
        with pytest.raises(
            ValueError,
            match=r"^(ranked|densities|largest|multiplied|roots|colours|darker|learned|separated): |contiguous",
        ):
            wrong()
    out.flags.writeable = False
    with pytest.raises(TypeError, match="read-write"):
        _kernels.multiplied(rgb, factors, out)
