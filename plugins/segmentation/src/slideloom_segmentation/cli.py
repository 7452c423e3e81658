"""`slideloom segment train` and `slideloom segment predict`."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin

import attrs
from slideloom import (
    ConfigError,
    MissingResolution,
    OptionError,
    PluginError,
    Slide,
    SlidePlace,
    find_slides,
    load_regions,
    open_slide,
    pip_install,
    place_of,
)

from slideloom_segmentation.settings import SegmentConfig, SegmentRoi

if TYPE_CHECKING:
    from attrs import AttrsInstance
    from slideloom import Regions

    from slideloom_segmentation.logbook import EpochReport


SettingsT = TypeVar("SettingsT", bound="AttrsInstance")


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the sub-commands and their options."""
    actions = parser.add_subparsers(dest="action", required=True)
    train = actions.add_parser("train", help="train a model on slides with labelled regions")
    train.add_argument("slides", nargs="+", type=place_of, help="slides to train on")
    train.add_argument(
        "--regions", type=Path, required=True, help="folder of GeoJSON or CSV files named like the slides"
    )
    train.add_argument("--out", type=Path, required=True, help="folder for the model")
    train.add_argument("--resume", action="store_true", help="resume an interrupted training")
    _add_slide_mpp(train)
    _add_options(train, SegmentConfig)
    predict = actions.add_parser("predict", help="write the regions that a model finds as GeoJSON")
    predict.add_argument("slides", nargs="+", help="slides to segment: files, folders or patterns")
    predict.add_argument("--out", type=Path, required=True, help="folder for one GeoJSON file per slide")
    _add_slide_mpp(predict)
    _add_options(predict, SegmentRoi)


def run(args: argparse.Namespace) -> int:
    """Run the sub-command; progress goes to standard error.

    Raises:
        SlideloomError: it failed; the message says why.
    """
    _need_torch()
    return _train(args) if args.action == "train" else _predict(args)


def _train(args: argparse.Namespace) -> int:
    from slideloom_segmentation.ranks import Ranks, launched  # heavy, so only here
    from slideloom_segmentation.training import train

    def tell(report: EpochReport) -> None:
        args.interrupted = "finished epochs are kept, --resume goes on after the last one"
        _tell(report)

    config = _options(args, SegmentConfig)
    with launched(), ExitStack() as opened:
        slides = [opened.enter_context(_opened(path, args.slide_mpp)) for path in args.slides]
        regions = [load_regions(args.regions, slide.info) for slide in slides]
        without = [path.name for path, found in zip(args.slides, regions, strict=True) if found is None]
        if without:
            raise ConfigError(
                f"{args.regions}: no region file for {', '.join(without)}; add it, or leave the slide out"
            )
        known = [found for found in regions if found is not None]
        weights = train(config, slides=slides, regions=known, out=args.out, resume=args.resume, progress=tell)
        if Ranks.here().is_first:
            print(weights)
    return 0


def _predict(args: argparse.Namespace) -> int:
    from slideloom_segmentation.predicting import predict  # heavy, so only here

    def tell(path: Path, regions: Regions) -> None:
        args.interrupted = "the regions of finished slides are kept"
        print(path)
        print(f"{path}: {len(regions.items)} regions", file=sys.stderr)

    settings = _options(args, SegmentRoi)
    slides = find_slides(args.slides)
    predict(settings, slides, out=args.out, progress=tell, opening=lambda path: _opened(path, args.slide_mpp))
    return 0


def _need_torch() -> None:
    """Say what to install; settings do that for a step, but a command must do it itself."""
    try:
        import safetensors  # noqa: F401 - only asks whether it is there
        import torch  # noqa: F401 - the same
    except ImportError as error:
        remedy = pip_install("slideloom-segmentation[torch]")
        raise PluginError(f"segment needs PyTorch and safetensors; install them with: {remedy}") from error


def _opened(path: SlidePlace, mpp: float | None) -> Slide:
    """The slide; where its microns per pixel are missing, the message names this command's option for them."""
    try:
        return open_slide(path, mpp=mpp)
    except MissingResolution as error:
        raise MissingResolution(f"{path.name}: no microns per pixel recorded; give them with --slide-mpp") from error


def _tell(report: EpochReport) -> None:
    print(
        f"epoch {report.epoch}/{report.epochs}: loss {report.train_loss:.3f}, validation loss {report.val_loss:.3f}, "
        f"IoU {report.val_iou:.3f}, {report.seconds:.0f} s",
        file=sys.stderr,
    )


def _add_slide_mpp(parser: argparse.ArgumentParser) -> None:
    text = "microns per pixel of the slides' level 0, instead of the recorded value"
    parser.add_argument("--slide-mpp", type=_positive, help=text)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"must be above 0, not {text}")
    return value


def _add_options(parser: argparse.ArgumentParser, settings: type[AttrsInstance]) -> None:
    """One argument per option of an attrs class, such as `--patch-px`."""
    attrs.resolve_types(settings)
    for attribute in attrs.fields(settings):
        unit = attribute.metadata["unit"]
        is_required = attribute.default is attrs.NOTHING
        usual = "" if is_required or attribute.default in (None, ()) else f" [{attribute.default}]"
        text = f"{attribute.metadata['help']}{f' ({unit})' if unit else ''}{usual}".replace("%", "%%")
        parser.add_argument(
            f"--{attribute.name.replace('_', '-')}",
            default=None,
            required=is_required,
            help=text,
            **_form(attribute.type),
        )


def _form(kind: Any) -> Mapping[str, Any]:  # Any: a typing form
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction}
    if get_origin(kind) is Literal:
        return {"choices": get_args(kind)}
    if get_origin(kind) is tuple:
        return {"nargs": "*"}
    if get_origin(kind) is not None and get_origin(kind) is not Union:
        return {"type": next(choice for choice in get_args(kind) if choice is not type(None))}
    return {"type": kind}


def _options(args: argparse.Namespace, settings: type[SettingsT]) -> SettingsT:
    names: Sequence[str] = [attribute.name for attribute in attrs.fields(settings)]
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    try:
        return settings(**given)
    except OptionError as error:
        raise ConfigError(f"--{error.option.replace('_', '-')} {error.problem}") from error
