"""Checkpoints: written after every epoch, and resumed by the same training only: its options, slides and regions."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
from slideloom import ConfigError, OutputError, Regions, Slide, partial_path

from slideloom_segmentation.settings import SegmentConfig, check_model_file

CHECKPOINT = "checkpoint.pt"
_NAMED = 5  # differences that a message lists


def identity_of(slides: Sequence[Slide], regions: Sequence[Regions]) -> dict[str, Any]:
    """What a training was given, in its order: each slide's size, resolution and regions, by its name."""
    return {
        slide.info.name: {
            "size": [slide.info.size.width, slide.info.size.height],
            "mpp": None if slide.info.mpp is None else [slide.info.mpp.x, slide.info.mpp.y],
            "regions": _regions_digest(found),
        }
        for slide, found in zip(slides, regions, strict=True)
    }


def _regions_digest(regions: Regions) -> str:
    digest = hashlib.sha256()
    for item in regions.items:
        digest.update(json.dumps([item.label, item.shape.wkb_hex]).encode())
    return digest.hexdigest()


def store_checkpoint(
    out: Path, config: SegmentConfig, identity: Mapping[str, Any], state: Mapping[str, Any], *, processes: int
) -> None:
    """Write the checkpoint: tensors, numbers and text only."""
    unfinished = partial_path(out / CHECKPOINT)
    torch.save({"config": _text(config, processes), "slides": json.dumps(identity), **state}, unfinished)
    unfinished.replace(out / CHECKPOINT)


def read_checkpoint(config: SegmentConfig, out: Path, *, resume: bool, processes: int) -> dict[str, Any] | None:
    """The state to go on from; None for a new training.

    Raises:
        ConfigError: there is none, it is damaged, or it was made with other options.
        OutputError: a new training's folder is not empty.
    """
    path = out / CHECKPOINT
    if not resume:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise OutputError(f"{out}: not an empty folder; resume the training in it, or choose another folder")
        return None
    if not path.is_file():
        raise ConfigError(f"{path}: no checkpoint to resume from; train without resume")
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        stored = json.loads(state["config"])
    except Exception as error:  # unpickling a damaged file may raise anything
        raise ConfigError(f"{path}: cannot be read as a checkpoint ({error}); train again in another folder") from error
    wanted = json.loads(_text(config, processes))
    if stored != wanted:
        differing = [
            f"{key} was {stored.get(key)!r}, not {wanted.get(key)!r}"
            for key in wanted
            if stored.get(key) != wanted[key]
        ]
        raise ConfigError(f"{path}: made with other options: {'; '.join(differing)}; give the same, or another folder")
    return state


def check_identity(state: Mapping[str, Any], identity: Mapping[str, Any], out: Path) -> None:
    """Raise `ConfigError` unless a checkpoint is of these slides and regions, in this order.

    Other slides would be split anew, so that a slide that was trained on could be validated on.
    """
    before, path = json.loads(state.get("slides", "{}")), out / CHECKPOINT
    if list(before.items()) == list(identity.items()):
        return
    lines = [f"{name} was not there" for name in identity if name not in before]
    lines += [f"{name} is missing" for name in before if name not in identity]
    for name in sorted(identity.keys() & before.keys()):
        lines += [
            f"{name} has {'other regions' if key == 'regions' else f'another {key}'}"
            for key, value in identity[name].items()
            if before[name].get(key) != value
        ]
    more = f" and {len(lines) - _NAMED} more" if len(lines) > _NAMED else ""
    differing = "; ".join(lines[:_NAMED]) + more if lines else "their order differs"
    raise ConfigError(f"{path}: made with other slides or regions: {differing}; give the same, or another folder")


def _text(config: SegmentConfig, processes: int) -> str:
    """The config without options that do not affect the weights; a file as its name and content."""
    table = {
        attribute.name: getattr(config, attribute.name)
        for attribute in attrs.fields(SegmentConfig)
        if attribute.metadata["affects_output"]
    }
    table = {name: _file_text(value) if isinstance(value, Path) else value for name, value in table.items()}
    return json.dumps({**table, "processes": processes}, sort_keys=True)


def _file_text(path: Path) -> str:
    check_model_file(path)
    return f"{path.name} with sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:16]}"
