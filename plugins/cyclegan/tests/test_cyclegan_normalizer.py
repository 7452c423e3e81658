"""The normalizer on tiles: values, sizes, batches, threads, and the errors of its options."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from slideloom import ConfigError, RgbBatch
from slideloom_cyclegan import CycleGan, CycleGanNormalizer, ResnetGenerator
from slideloom_testing import batch_of
from slideloom_testing.contracts import NormalizerContract

NO_TORCH = """
import sys
sys.modules["torch"] = None  # as if it were not installed
from slideloom import PluginError
from slideloom_cyclegan.plugin import slideloom_normalizers
(settings,) = slideloom_normalizers()
try:
    settings(weights="he2mt.pth", direction="he2mt").build()
except PluginError as error:
    print(error)
"""


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two generators whose weights are random, with enough contrast at the output."""
    folder = tmp_path_factory.mktemp("weights")
    paths = {}
    for seed, name in enumerate(("he2mt", "mt2he")):
        torch.manual_seed(seed)
        generator = ResnetGenerator()
        paths[name] = folder / f"{name}.pth"
        torch.save(generator.state_dict(), paths[name])
    return paths


class TestThereAndBack(NormalizerContract):
    entry_module = "slideloom_cyclegan.plugin"
    tile_px = 24

    @pytest.fixture(autouse=True)
    def _settings(self, weights: dict[str, Path]) -> None:
        self.settings = CycleGan(weights=weights["he2mt"], second_weights=weights["mt2he"], device="cpu")


class TestOneWay(NormalizerContract):
    entry_module = "slideloom_cyclegan.plugin"
    tile_px = 22

    @pytest.fixture(autouse=True)
    def _settings(self, weights: dict[str, Path]) -> None:
        self.settings = CycleGan(weights=weights["mt2he"], direction="mt2he", device="cpu")


def noise(*shape: int, seed: int = 0) -> RgbBatch:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def by_hand(path: Path, rgb: RgbBatch) -> RgbBatch:
    """One generator on images whose sides are multiples of 4, from the definition: 0..255 is -1..1."""
    generator = ResnetGenerator().double().eval()
    generator.load_state_dict(torch.load(path, weights_only=True))
    image = torch.from_numpy(rgb.astype(np.float64) * 2 / 255 - 1).permute(0, 3, 1, 2)
    with torch.inference_mode():
        out = generator(image).permute(0, 2, 3, 1).numpy()
    return np.floor((out + 1) / 2 * 255 + 0.5).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("direction", ["he2mt", "mt2he"])
def test_one_direction_is_the_generator_on_scaled_values(weights: dict[str, Path], direction: str) -> None:
    rgb = noise(2, 16, 24, 3)

    normalized = CycleGan(weights=weights[direction], direction=direction, device="cpu").build().apply(batch_of(rgb))

    expected = by_hand(weights[direction], rgb)
    assert normalized.ok.tolist() == [True, True]
    assert normalized.rgb.dtype == np.uint8
    assert expected.std() > 5  # the random generator gives a picture, not a constant
    assert np.abs(normalized.rgb.astype(int) - expected).max() <= 1  # float32 may round the other way


def test_there_and_back_is_both_generators_in_turn(weights: dict[str, Path]) -> None:
    rgb = noise(1, 16, 16, 3)
    there = CycleGan(weights=weights["he2mt"], direction="he2mt", device="cpu").build()
    back = CycleGan(weights=weights["mt2he"], direction="mt2he", device="cpu").build()
    both = CycleGan(weights=weights["he2mt"], second_weights=weights["mt2he"], device="cpu").build()

    expected = back.apply(batch_of(there.apply(batch_of(rgb)).rgb)).rgb

    assert np.array_equal(both.apply(batch_of(rgb)).rgb, expected)


@pytest.mark.parametrize("side", [1, 2, 5, 17, 30])
def test_a_tile_of_any_size_is_continued_by_reflection_and_cut_again(weights: dict[str, Path], side: int) -> None:
    rgb = noise(1, side, 12, 3)
    full = max(8, -(-side // 4) * 4)
    continued = np.pad(rgb, ((0, 0), (0, full - side), (0, 0), (0, 0)), mode="reflect" if side > 1 else "edge")

    got = CycleGan(weights=weights["he2mt"], direction="he2mt", device="cpu").build().apply(batch_of(rgb)).rgb

    assert got.shape == rgb.shape
    assert np.abs(got.astype(int) - by_hand(weights["he2mt"], continued)[:, :side]).max() <= 1


def test_a_tile_does_not_depend_on_its_batch(weights: dict[str, Path]) -> None:
    rgb = noise(5, 20, 20, 3)
    one = CycleGan(weights=weights["he2mt"], direction="he2mt", device="cpu").build()

    whole = one.apply(batch_of(rgb)).rgb
    single = np.concatenate([one.apply(batch_of(rgb[i : i + 1])).rgb for i in (4, 2, 0, 1, 3)])

    assert np.array_equal(whole[[4, 2, 0, 1, 3]], single)


def test_larger_batches_change_a_value_by_one_at_most(weights: dict[str, Path]) -> None:
    rgb = noise(5, 20, 20, 3)
    results = [
        CycleGan(weights=weights["he2mt"], direction="he2mt", device="cpu", batch=batch).build().apply(batch_of(rgb))
        for batch in (1, 2, 5)
    ]

    for other in results[1:]:
        assert np.abs(other.rgb.astype(int) - results[0].rgb).max() <= 1


def test_threads_share_one_normalizer(weights: dict[str, Path]) -> None:
    step = CycleGan(weights=weights["he2mt"], direction="he2mt", device="cpu").build()
    batches = [batch_of(noise(1, 16, 16, 3, seed=seed)) for seed in range(6)]

    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(step.apply, batches))

    for batch, found in zip(batches, together, strict=True):
        assert np.array_equal(found.rgb, step.apply(batch).rgb)


def test_loaders_give_it_arrays_or_tensors(weights: dict[str, Path]) -> None:
    step = CycleGan(weights=weights["he2mt"], direction="he2mt", device="cpu").build()
    assert isinstance(step, CycleGanNormalizer)
    rgb = noise(2, 16, 16, 3)
    before = rgb.copy()

    arrays = step.transform(rgb)
    tensors = step.transform(torch.from_numpy(rgb))
    single = step.transform(rgb[0])

    assert np.array_equal(rgb, before)
    assert np.array_equal(tensors.numpy(), arrays)
    assert np.array_equal(single, arrays[0])
    assert step.transform(rgb[:0]).shape == (0, 16, 16, 3)


def test_a_batch_of_the_wrong_kind_is_named(weights: dict[str, Path]) -> None:
    step = CycleGan(weights=weights["he2mt"], direction="he2mt", device="cpu").build()
    assert isinstance(step, CycleGanNormalizer)

    with pytest.raises(ValueError, match=r"uint8, not \(1, 3, 16, 16\) torch.uint8"):
        step.transform(noise(1, 3, 16, 16))


def test_it_travels_to_a_loader_worker_as_its_settings(weights: dict[str, Path]) -> None:
    step = CycleGan(weights=weights["he2mt"], direction="he2mt", device="cpu").build()
    assert isinstance(step, CycleGanNormalizer)
    rgb = noise(1, 16, 16, 3)

    pickled = pickle.dumps(step)

    assert len(pickled) < 2000
    assert np.array_equal(pickle.loads(pickled).transform(rgb), step.transform(rgb))


def test_new_weights_under_an_old_name_are_read_again(weights: dict[str, Path], tmp_path: Path) -> None:
    path, rgb = tmp_path / "he2mt.pth", noise(1, 16, 16, 3)
    results = []
    for source in weights.values():
        path.write_bytes(source.read_bytes())
        results.append(CycleGan(weights=path, direction="he2mt", device="cpu").build().apply(batch_of(rgb)).rgb)

    assert not np.array_equal(results[0], results[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, 'no weights given; set weights = "published"'),
        ({"weights": "a.pth"}, "second_weights is missing"),
        ({"weights": "a.pth", "second_weights": "b.pth", "direction": "he2mt"}, "leave second_weights out"),
        ({"weights": "published", "second_weights": "b.pth"}, "leave second_weights out"),
        ({"weights": "a.pth", "direction": "he2mt", "device": "tpu9"}, "device 'tpu9'"),
        ({"weights": "a.pth", "direction": "he2mt", "device": "cpu"}, "a.pth: no such file"),
    ],
)
def test_a_mistake_in_the_options_names_its_remedy(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        CycleGan(**options).build()

    assert message in str(caught.value)


def test_without_torch_the_plugin_loads_and_the_build_names_the_command() -> None:
    found = subprocess.run([sys.executable, "-c", NO_TORCH], capture_output=True, text=True, check=True)

    assert "pip install 'slideloom-cyclegan[torch]'" in found.stdout
