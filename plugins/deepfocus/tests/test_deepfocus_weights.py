from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from slideloom import ConfigError, Size
from slideloom_deepfocus import DeepFocus, weights
from slideloom_deepfocus.layers import DEEPFOCUS
from slideloom_deepfocus.tensorbundle import read_checkpoint
from slideloom_testing import PixelsSlide, stained


def random_weights(seed: int) -> dict[str, NDArray[np.float32]]:
    """Weights of the right shapes, in a range in which the network neither dies nor explodes."""
    rng = np.random.default_rng(seed)
    result = {}
    for name, shape in DEEPFOCUS.shapes().items():
        values = rng.normal(size=shape)
        if name.endswith("/W"):
            values *= np.sqrt(2 / np.prod(shape[:-1]))
        elif name.endswith(("gamma", "variance")):
            values = 0.5 + np.abs(values)
        else:
            values *= 0.1
        result[name] = values.astype(np.float32)
    result["FullyConnected_2/W"] *= np.float32(0.1)  # or all answers are 0 or 1, whatever the network
    return result


# TensorFlow runs in a process of its own: its import emits warnings, and warnings are errors here.
WRITE = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
import tensorflow as tf
def write(kind, arrays, prefix):
    if kind == "released":  # TensorFlow 1 with TFLearn's names and the extra variables it keeps
        with tf.Graph().as_default(), tf.compat.v1.Session() as session:
            for name, array in arrays.items():
                tf.compat.v1.get_variable(name, initializer=array)
            tf.compat.v1.get_variable("Global_Step", initializer=np.float32(7))
            tf.compat.v1.get_variable("is_training", initializer=False)
            session.run(tf.compat.v1.global_variables_initializer())
            tf.compat.v1.train.Saver().save(session, prefix)
    elif kind == "numbered":  # TensorFlow 2's Keras: an object graph of numbered layers
        order = list(dict.fromkeys(name.split("/")[0] for name in arrays))
        root = tf.Module()
        for number, layer in enumerate(order):
            part = tf.Module()
            for name, array in arrays.items():
                if name.split("/")[0] == layer:
                    short = {"W": "kernel", "b": "bias"}.get(name.split("/")[1], name.split("/")[1])
                    setattr(part, short, tf.Variable(array))
            setattr(root, f"layer_with_weights-{number}", part)
        tf.train.Checkpoint(root).write(prefix)
    else:  # Keras 3
        from slideloom_deepfocus.keras_network import network
        tf.train.Checkpoint(model=network(arrays)).write(prefix)
for kind, source, prefix in zip(*[iter(sys.argv[1:])] * 3):
    write(kind, dict(np.load(source)), prefix)
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, dict[str, NDArray[np.float32]]]]:
    """A checkpoint of each kind and what is in it, all written by one start of TensorFlow."""
    pytest.importorskip("tensorflow")
    made, words = {}, []
    for seed, kind in ((11, "released"), (12, "numbered"), (13, "keras3")):
        folder, arrays = tmp_path_factory.mktemp(kind), random_weights(seed=seed)
        np.savez(folder / "weights.npz", **arrays)  # type: ignore[arg-type]
        made[kind] = folder / "ver5", arrays
        words += [kind, str(folder / "weights.npz"), str(folder / "ver5")]
    subprocess.run([sys.executable, "-c", WRITE, *words], check=True)
    return made


@pytest.fixture(scope="module")
def released(written: Any) -> tuple[Path, dict[str, NDArray[np.float32]]]:
    """A checkpoint in the released layout, written by TensorFlow, and what is in it."""
    found: tuple[Path, dict[str, NDArray[np.float32]]] = written["released"]
    return found


def test_a_checkpoint_in_the_released_layout_is_read_without_tensorflow(released: Any) -> None:
    prefix, arrays = released
    for path in (prefix, prefix.with_name("ver5.index")):
        found = weights.from_file(path)
        assert list(found) == list(arrays)
        assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
    everything = read_checkpoint(prefix)
    assert float(everything["Global_Step"]) == 7
    assert everything["is_training"].dtype == np.bool_


def test_the_released_layout_has_the_released_size(released: Any) -> None:
    # Hugging Face lists the data file with 5.24 MB.
    size = released[0].with_name("ver5.data-00000-of-00001").stat().st_size
    assert size == pytest.approx(5.24e6, abs=0.005e6)


@pytest.mark.parametrize("kind", ["numbered", "keras3"])
def test_checkpoints_that_number_the_layers_are_read_by_order(written: Any, kind: str) -> None:
    prefix, arrays = written[kind]
    found = weights.from_file(prefix)
    assert all(np.array_equal(found[name], arrays[name]) for name in arrays)


def test_published_weights_are_used_from_the_cache(released: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    # Hugging Face's cache as its documentation describes it: a reference that names a snapshot.
    repository, commit = tmp_path / "models--jamesdolezal--deepfocus", "1" * 40
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    copied(released[0], snapshot)
    step = DeepFocus(weights="published", cache=tmp_path, device="cpu").build()
    assert step.options.mpp == 0.25
    rgb = stained(Size(256, 128), seed=3)
    found = step(PixelsSlide(rgb, mpp=0.25), threshold=False)
    tiles = rgb.reshape(2, 64, 4, 64, 3).swapaxes(1, 2).reshape(8, 64, 64, 3) / 255
    centred = (tiles - tiles.mean(axis=(1, 2, 3), keepdims=True)).astype(np.float32)
    assert np.abs(found.values.ravel() - reference(released[1], centred)[:, 1]).max() < 1e-4


def copied(prefix: Path, folder: Path) -> Path:
    for path in prefix.parent.glob("ver5.*"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder / "ver5"


@pytest.mark.parametrize("suffix", [".index", ".data-00000-of-00001"])
def test_a_flipped_bit_is_found(released: Any, tmp_path: Path, suffix: str) -> None:
    prefix = copied(released[0], tmp_path)
    path = prefix.with_name("ver5" + suffix)
    blob = bytearray(path.read_bytes())
    blob[len(blob) // 3] ^= 4
    path.write_bytes(blob)
    with pytest.raises(ConfigError, match=r"ver5\.index: not a readable TensorFlow checkpoint .*fetch it again"):
        weights.from_file(prefix)


@pytest.mark.parametrize("keep", [0, 10, 60, 1000])
def test_a_cut_index_is_found(released: Any, tmp_path: Path, keep: int) -> None:
    prefix = copied(released[0], tmp_path)
    index = prefix.with_name("ver5.index")
    index.write_bytes(index.read_bytes()[:keep])
    with pytest.raises(ConfigError, match="not a readable TensorFlow checkpoint"):
        weights.from_file(prefix)


def test_a_cut_or_missing_data_file_is_found(released: Any, tmp_path: Path) -> None:
    prefix = copied(released[0], tmp_path)
    path = prefix.with_name("ver5.data-00000-of-00001")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ConfigError, match="end within tensor"):
        weights.from_file(prefix)
    path.unlink()
    with pytest.raises(ConfigError, match=r"data-00000-of-00001: no such file"):
        weights.from_file(prefix)


def test_weights_survive_safetensors_in_16_bit(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    arrays = random_weights(seed=13)
    path = tmp_path / "own.safetensors"
    save_file({name: array.astype(np.float16) for name, array in arrays.items()}, path, metadata={"mpp": "0.5"})
    found = weights.from_file(path)
    assert all(np.array_equal(found[name], arrays[name].astype(np.float16)) for name in arrays)
    assert weights.mpp_of(path, default=1.0) == 0.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"Conv2D_2/W": None}, "no array 'Conv2D_2/W'"),
        ({"Conv2D_2/b": np.zeros(63, np.float32)}, r"'Conv2D_2/b' is \(63,\), the network needs \(64,\)"),
        ({"Conv2D_2/b": np.full(64, np.nan, np.float32)}, "not numbers"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    from safetensors.numpy import save_file

    arrays = {**random_weights(seed=14), **change}
    path = tmp_path / "other.safetensors"
    save_file({name: array for name, array in arrays.items() if array is not None}, path)
    with pytest.raises(ConfigError, match=words):
        weights.from_file(path)


@pytest.mark.parametrize("name", ["nothing.safetensors", "nothing"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"nothing.*no such file"):
        weights.from_file(tmp_path / name)


def test_a_file_that_is_no_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad.safetensors"
    path.write_bytes(b"not at all")
    with pytest.raises(ConfigError, match="not a readable safetensors"):
        weights.from_file(path)


def varied_tiles(seed: int) -> NDArray[np.float32]:
    """(8, 64, 64, 3), of different contrast and brightness, so that answers differ."""
    noise = np.random.default_rng(seed).normal(size=(8, 64, 64, 3))
    contrast, level = np.geomspace(0.05, 2, 8), np.array([0.4, -0.4, 0.8, -0.8, 0.2, -0.2, 0.6, -0.6])
    tiles: NDArray[np.float32] = (noise * contrast[:, None, None, None] + level[:, None, None, None]).astype(np.float32)
    return tiles


AGREE = """
import sys, warnings
warnings.simplefilter("ignore")
import numpy as np
from slideloom_deepfocus.keras_network import network
arrays = dict(np.load(sys.argv[1]))
tiles = np.load(sys.argv[2])
np.save(sys.argv[3], network(arrays)(tiles, training=False).numpy())
"""


def reference(arrays: dict[str, NDArray[np.float32]], tiles: NDArray[np.float32]) -> NDArray[np.float64]:
    """The published network in plain numpy, from its description: (B, 64, 64, 3) to (B, 2)."""

    def norm(x: NDArray[np.float64], layer: str) -> NDArray[np.float64]:
        mean, variance = arrays[f"{layer}/moving_mean"], arrays[f"{layer}/moving_variance"].astype(np.float64)
        scaled = (x - mean) / np.sqrt(variance + 1e-5)
        result: NDArray[np.float64] = scaled * arrays[f"{layer}/gamma"] + arrays[f"{layer}/beta"]
        return result

    x = tiles.astype(np.float64)
    for number in range(5):
        tail = f"_{number}" if number else ""
        kernel = arrays[f"Conv2D{tail}/W"].astype(np.float64)
        side = kernel.shape[0]
        padded = np.pad(x, ((0, 0), (side // 2, side // 2), (side // 2, side // 2), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (side, side), axis=(1, 2))
        x = np.einsum("bhwcij,ijcf->bhwf", windows, kernel, optimize=True) + arrays[f"Conv2D{tail}/b"]
        x = norm(np.maximum(x, 0), f"BatchNormalization{tail}")
        if number >= 2:
            batch, high, wide, depth = x.shape
            x = x.reshape(batch, high // 2, 2, wide // 2, 2, depth).max(axis=(2, 4))
    x = x.reshape(len(x), -1)
    for number in range(3):
        tail = f"_{number}" if number else ""
        x = x @ arrays[f"FullyConnected{tail}/W"] + arrays[f"FullyConnected{tail}/b"]
        if number < 2:
            x = norm(np.maximum(x, 0), f"BatchNormalization_{5 + number}")
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    result: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return result


def test_the_torch_network_is_the_published_one() -> None:
    torch = pytest.importorskip("torch")
    from slideloom_deepfocus.torch_network import arrays_of, network

    arrays = random_weights(seed=15)
    tiles = varied_tiles(1)
    net = network(arrays)
    with torch.inference_mode():
        found = net(torch.from_numpy(tiles).permute(0, 3, 1, 2)).numpy()
    assert np.ptp(found[:, 1]) > 0.05  # the tiles do not all get one answer
    assert np.abs(found - reference(arrays, tiles)).max() < 1e-4
    assert all(np.array_equal(array, arrays[name]) for name, array in arrays_of(net).items())


def test_keras_and_torch_agree(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("tensorflow")
    from slideloom_deepfocus.torch_network import network

    arrays = random_weights(seed=16)
    tiles = varied_tiles(2)
    np.savez(tmp_path / "w.npz", **arrays)  # type: ignore[arg-type]
    np.save(tmp_path / "t.npy", tiles)
    files = [str(tmp_path / name) for name in ("w.npz", "t.npy", "o.npy")]
    subprocess.run([sys.executable, "-c", AGREE, *files], check=True)
    with torch.inference_mode():
        ours = network(arrays)(torch.from_numpy(tiles).permute(0, 3, 1, 2)).numpy()
    assert np.ptp(ours[:, 1]) > 0.05  # the tiles do not all get one answer
    assert np.abs(ours - np.load(tmp_path / "o.npy")).max() < 1e-4
