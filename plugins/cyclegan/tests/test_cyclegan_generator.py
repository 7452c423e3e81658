"""The generator against the same layers written out as functions, and what the weights loader takes and refuses."""

from __future__ import annotations

import hashlib
import json
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from slideloom import ConfigError
from slideloom_cyclegan.generator import ResnetGenerator
from slideloom_cyclegan.weights import check_digest, load_generator
from torch import Tensor


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def published_layout(seed: int) -> dict[str, Tensor]:
    """Random weights under the names and in the shapes of the released files.

    In `nn.Sequential` order: pad, conv, norm, relu (0-3), two of conv, norm, relu (4-9), nine blocks (10-18) with
    convolutions at 1 and 5, two of transposed conv, norm, relu (19-24), pad, conv, tanh (25-27).
    """
    shapes: dict[str, tuple[int, ...]] = {"1": (64, 3, 7, 7), "4": (128, 64, 3, 3), "7": (256, 128, 3, 3)}
    for block in range(10, 19):
        shapes |= {f"{block}.conv_block.{conv}": (256, 256, 3, 3) for conv in (1, 5)}
    shapes |= {"19": (256, 128, 3, 3), "22": (128, 64, 3, 3), "26": (3, 64, 7, 7)}
    random = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        outputs = shape[1] if name in ("19", "22") else shape[0]
        state[f"model.{name}.weight"] = torch.randn(shape, generator=random) * 0.02
        state[f"model.{name}.bias"] = torch.randn(outputs, generator=random) * 0.1
    return state


def independent(image: Tensor, state: dict[str, Tensor]) -> Tensor:
    """The forward pass of Zhu et al. 2017, appendix 7.2, in float64 and without any module."""
    weights = {name: value.double() for name, value in state.items()}

    def of(name: str) -> tuple[Tensor, Tensor]:
        return weights[f"model.{name}.weight"], weights[f"model.{name}.bias"]

    def standard(x: Tensor) -> Tensor:
        centred = x - x.mean(dim=(2, 3), keepdim=True)
        return centred / (centred.square().mean(dim=(2, 3), keepdim=True) + 1e-5).sqrt()

    x = image.double()
    x = F.relu(standard(F.conv2d(F.pad(x, (3, 3, 3, 3), mode="reflect"), *of("1"))))
    for name in ("4", "7"):
        x = F.relu(standard(F.conv2d(x, *of(name), stride=2, padding=1)))
    for block in range(10, 19):
        inner = F.conv2d(F.pad(x, (1, 1, 1, 1), mode="reflect"), *of(f"{block}.conv_block.1"))
        inner = F.relu(standard(inner))
        inner = F.conv2d(F.pad(inner, (1, 1, 1, 1), mode="reflect"), *of(f"{block}.conv_block.5"))
        x = x + standard(inner)
    for name in ("19", "22"):
        x = F.relu(standard(F.conv_transpose2d(x, *of(name), stride=2, padding=1, output_padding=1)))
    return torch.tanh(F.conv2d(F.pad(x, (3, 3, 3, 3), mode="reflect"), *of("26")))


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return published_layout(seed=1)


def test_the_generator_computes_the_published_layers(state: dict[str, Tensor]) -> None:
    image = torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 2 - 1
    generator = ResnetGenerator().double()
    generator.load_state_dict(state)

    with torch.inference_mode():
        difference = (generator(image) - independent(image, state)).abs().max()

    assert difference < 1e-10


def test_it_has_as_many_parameters_as_the_layers_say() -> None:
    convolutions = [(3, 64, 49), (64, 128, 9), (128, 256, 9), *[(256, 256, 9)] * 18]
    convolutions += [(256, 128, 9), (128, 64, 9), (64, 3, 49)]

    expected = sum(inputs * outputs * area + outputs for inputs, outputs, area in convolutions)

    assert sum(parameter.numel() for parameter in ResnetGenerator().parameters()) == expected


@pytest.mark.parametrize("form", ["plain", "data-parallel", "old-instance-norm", "wrapped", "safetensors"])
def test_every_form_of_the_published_file_gives_the_same_generator(
    state: dict[str, Tensor], tmp_path: Path, form: str
) -> None:
    path = tmp_path / "he2mt.pth"
    if form == "safetensors":
        from safetensors.torch import save_file

        path = tmp_path / "he2mt.safetensors"
        save_file(state, path)
    elif form == "data-parallel":
        torch.save({f"module.{name}": value for name, value in state.items()}, path)
    elif form == "old-instance-norm":
        buffers = {
            f"model.{where}.{buffer}": torch.zeros(1)
            for where in ("2", "5", "10.conv_block.2", "18.conv_block.6", "23")
            for buffer in ("running_mean", "running_var", "num_batches_tracked")
        }
        torch.save(state | buffers, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if form == "wrapped" else state, path)

    loaded = load_generator(path).state_dict()

    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def test_a_file_with_code_in_it_is_refused_and_the_code_does_not_run(tmp_path: Path) -> None:
    trace = tmp_path / "trace"

    class Malicious:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (trace,)

    path = tmp_path / "evil.pth"
    torch.save({"model.1.weight": Malicious()}, path)
    bare = tmp_path / "bare.pth"
    bare.write_bytes(pickle.dumps(Malicious()))

    for file in (path, bare):
        with pytest.raises(ConfigError, match=f"{file.name}: cannot be read as weights"):
            load_generator(file)
    assert not trace.exists()


def test_weights_of_another_network_are_told_apart(state: dict[str, Tensor], tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    other = {name: value for name, value in state.items() if name != "model.26.bias"}
    other |= {"head.weight": torch.zeros(1), "model.1.weight": torch.zeros(32, 3, 7, 7)}
    torch.save(other, path)

    with pytest.raises(ConfigError) as caught:
        load_generator(path)

    message = str(caught.value)
    assert "other.pth" in message
    assert "1 missing (such as model.26.bias)" in message
    assert "1 unknown (such as head.weight)" in message
    assert "model.1.weight is (32, 3, 7, 7), not (64, 3, 7, 7)" in message


@pytest.mark.parametrize("name", ["broken.pth", "broken.safetensors"])
def test_a_broken_file_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"not weights at all")

    with pytest.raises(ConfigError, match=f"{name}: cannot be read as weights"):
        load_generator(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.pth: no such file"):
        load_generator(tmp_path / "nowhere.pth")


def test_the_checksum_is_recorded_at_first_use_and_held_to_afterwards(tmp_path: Path) -> None:
    path, record = tmp_path / "cyclegan_he2mt.pth", tmp_path / "cache" / "checksums.json"
    path.write_bytes(b"weights")
    expected = hashlib.sha256(b"weights").hexdigest()

    assert check_digest(path, record=record, key="hub/a") == expected
    assert check_digest(path, record=record, key="hub/a") == expected
    assert json.loads(record.read_text()) == {"hub/a": expected}

    path.write_bytes(b"other weights")
    with pytest.raises(ConfigError, match=expected):
        check_digest(path, record=record, key="hub/a")


@pytest.mark.parametrize("text", ["", "no json", "[1]", "null", "[" * 200_000], ids=lambda text: text[:9])
def test_a_damaged_record_of_checksums_is_named_with_the_remedy(tmp_path: Path, text: str) -> None:
    path, record = tmp_path / "cyclegan_he2mt.pth", tmp_path / "checksums.json"
    path.write_bytes(b"weights")
    record.write_text(text)

    with pytest.raises(ConfigError, match=r"checksums\.json: not a table of checksums .*; delete it"):
        check_digest(path, record=record, key="hub/a")


def test_a_first_download_is_held_to_the_digest_the_hub_names_it_by(tmp_path: Path) -> None:
    blob = tmp_path / hashlib.sha256(b"what the hub holds").hexdigest()
    blob.write_bytes(b"what arrived")
    link = tmp_path / "cyclegan_he2mt.pth"
    link.symlink_to(blob)

    with pytest.raises(ConfigError, match="was expected"):
        check_digest(link, record=tmp_path / "checksums.json", key="hub/a")
    assert not (tmp_path / "checksums.json").exists()
