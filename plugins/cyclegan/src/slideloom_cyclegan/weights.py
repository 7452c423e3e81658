"""State dicts of generators, from files or from the hub, read without running any code in them."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from slideloom import ConfigError, PluginError, file_digest, hub_file, parse_json, pip_install, write_whole
from torch import Tensor

from slideloom_cyclegan.generator import ResnetGenerator, empty_generator
from slideloom_cyclegan.settings import PUBLISHED, CycleGan, Direction

# The weights of Zingman et al. (MIDL 2023), first published at https://osf.io/byf27, here as single files.
HUB_REPOSITORY = "jamesdolezal/stain-transfer"
HUB_FILES: Mapping[Direction, str] = {"he2mt": PUBLISHED[0], "mt2he": PUBLISHED[1]}
RECORD = "slideloom-checksums.json"

# PyTorch before 0.4 stored these for instance norm, which has never used them here.
_OLD_BUFFERS = ("running_mean", "running_var", "num_batches_tracked")


def load_generator(path: Path) -> ResnetGenerator:
    """The generator with the weights of a file, on the CPU, float32, ready for inference.

    Args:
        path: a .safetensors file, or a state dict saved by `torch.save` (old InstanceNorm buffers and the `module.`
            prefix of data-parallel training are accepted).

    Raises:
        ConfigError: the file is missing, unreadable, or for another network.
    """
    state = clean(read_tensors(path))
    generator = empty_generator()
    wanted = generator.state_dict()
    missing, unknown = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    misshaped = [
        f"{name} is {tuple(state[name].shape)}, not {tuple(wanted[name].shape)}"
        for name in sorted(wanted.keys() & state.keys())
        if state[name].shape != wanted[name].shape
    ]
    mistakes = [
        f"{len(names)} {what} (such as {names[0]})"
        for names, what in ((missing, "missing"), (unknown, "unknown"), (misshaped, "of another shape"))
        if names
    ]
    if mistakes:
        raise ConfigError(
            f"{path}: not the weights of a CycleGAN generator with {len(wanted)} tensors "
            f"(ResNet, 9 blocks, 64 filters): {', '.join(mistakes)}"
        )
    generator.load_state_dict({name: state[name].float() for name in wanted}, assign=True)
    return generator.eval().requires_grad_(requires_grad=False)


def check_weights(settings: CycleGan) -> None:
    """Look for the files of all generators; published ones are downloaded if they are not there.

    Raises:
        ConfigError: one is missing.
    """
    for direction, file in zip(settings.steps(), settings.files(), strict=True):
        if file == "published":
            published(direction)
        elif not file.is_file():
            raise _no_file(file)


def _no_file(path: Path) -> ConfigError:
    return ConfigError(f"{path}: no such file; give the path of a generator's .pth or .safetensors file as weights")


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a state dict saved by `torch.save`.

    Raises:
        ConfigError: the file is missing, unreadable, or contains anything other than tensors.
    """
    if not path.is_file():
        raise _no_file(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            found: Any = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except ImportError as error:
        remedy = pip_install("slideloom-cyclegan[torch]")
        raise PluginError(f"{path}: reading it needs safetensors: {remedy}") from error
    except (OSError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
        raise ConfigError(f"{path}: cannot be read as weights: {_first_line(error)}") from error
    except Exception as error:  # safetensors' own error class is a plain Exception
        raise ConfigError(f"{path}: cannot be read as weights: {_first_line(error)}") from error
    if isinstance(found, Mapping) and isinstance(found.get("state_dict"), Mapping):
        found = found["state_dict"]
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ConfigError(f"{path}: holds no state dict; save it with torch.save(net.state_dict(), path)")
    return {str(name): value for name, value in found.items()}


def clean(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict without `module.` prefix and without the InstanceNorm buffers of old PyTorch."""
    bare = {name.removeprefix("module."): value for name, value in state.items()}
    return {name: value for name, value in bare.items() if name.rpartition(".")[2] not in _OLD_BUFFERS}


def published(direction: Direction) -> Path:
    """The released weights of a direction, downloaded to the hub's cache at first use and checked from then on.

    Raises:
        ConfigError: they cannot be downloaded, or are not the bytes that were downloaded at first use.
        PluginError: huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import constants
    except ImportError as error:
        remedy = pip_install("slideloom-cyclegan[torch]")
        raise PluginError(f'cyclegan: weights = "published" needs huggingface_hub: {remedy}') from error
    name = HUB_FILES[direction]
    try:
        path = hub_file(HUB_REPOSITORY, name)
    except Exception as error:  # the hub's client raises its own errors, and those of the HTTP library and the system
        raise ConfigError(
            f"cyclegan: cannot download {name} from huggingface.co/{HUB_REPOSITORY} ({_first_line(error)}); "
            "download it by hand (also at https://osf.io/byf27) and give its path as weights"
        ) from error
    check_digest(path, record=Path(constants.HF_HUB_CACHE) / RECORD, key=f"{HUB_REPOSITORY}/{name}")
    return path


def check_digest(path: Path, *, record: Path, key: str) -> str:
    """The file's SHA-256, which is written to `record` at first use and must stay the same.

    The hub names large files by their SHA-256, so a file's first digest is also checked against that name.

    Raises:
        ConfigError: it differs from the record.
    """
    digest = file_digest(path)
    known = _recorded(record)
    blob = path.resolve().name
    expected = known.get(key) or (blob if re.fullmatch(r"[0-9a-f]{64}", blob) else digest)
    if digest != expected:
        raise ConfigError(
            f"{path}: SHA-256 is {digest}, but {expected} was expected ({record}); the file is damaged or was "
            "replaced: delete it to download it again, or remove its line from the record if you trust it"
        )
    if key not in known:
        write_whole(record, (json.dumps({**known, key: digest}, indent=1, sort_keys=True) + "\n").encode())
    return digest


def _recorded(record: Path) -> dict[str, str]:
    """The digests in a record; none if there is no record."""
    if not record.is_file():
        return {}
    try:
        table = dict(parse_json(record.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{record}: not a table of checksums ({error}); delete it to start again") from error
    return {str(key): str(digest) for key, digest in table.items()}


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
