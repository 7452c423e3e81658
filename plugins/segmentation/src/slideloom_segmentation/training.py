"""Training: patches of slides with regions in, the best epoch's model and what tells of the training out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from slideloom import ConfigError, Regions, Slide, open_slide, torch_device

from slideloom_segmentation.checkpoint import check_identity, identity_of, read_checkpoint, store_checkpoint
from slideloom_segmentation.fitting import Trainer
from slideloom_segmentation.logbook import EpochReport, Logbook, check_board
from slideloom_segmentation.ranks import Ranks, device_of_rank
from slideloom_segmentation.sampling import Plot
from slideloom_segmentation.settings import WEIGHTS, SegmentConfig
from slideloom_segmentation.splitting import check_different, split


def train(
    config: SegmentConfig,
    *,
    slides: Sequence[Slide | Path | str],
    regions: Sequence[Regions],
    out: Path,
    resume: bool = False,
    progress: Callable[[EpochReport], None] | None = None,
) -> Path:
    """Train a model and write it to `out`: weights of the best epoch, params.json, and the checkpoint.

    On a CPU with the same number of threads, the same seed gives the same weights. Where `torch.distributed` is
    initialised, its processes train together: each calls this function with the same arguments, and the first one
    writes. Beside the model lie `epochs.csv` and a picture of validation patches for each epoch.

    Args:
        config: how to train.
        slides: paths, or open slides with known mpp (which stay open).
        regions: of each slide, with labels if the config names any.
        out: a new or empty folder or, with `resume`, the folder of an interrupted training.
        resume: continue after the last finished epoch, as if never interrupted.
        progress: called after every epoch, when its checkpoint is on disk.

    Returns:
        The weights file, for `SegmentQc` and `SegmentRoi`.

    Raises:
        ConfigError: slides, regions and config do not fit together.
        OutputError: `out` has another model or training.
        SlideError: a slide cannot be read.
    """
    if len(slides) != len(regions):
        raise ConfigError(f"segment: {len(slides)} slides, but regions of {len(regions)}; give one Regions per slide")
    ranks = Ranks.here()
    device = torch_device(device_of_rank(config.device))
    check_board(wanted=config.tensorboard)
    if config.batch % ranks.count:
        raise ConfigError(f"segment: a batch of {config.batch} patches cannot be divided by {ranks.count} processes")
    before = read_checkpoint(config, out, resume=resume, processes=ranks.count)
    ranks.together()  # before the first one writes into the folder that the others look at
    with ExitStack() as opened:
        open_slides = [
            given if isinstance(given, Slide) else opened.enter_context(open_slide(given)) for given in slides
        ]
        check_different(open_slides)
        identity = identity_of(open_slides, regions)
        if before is not None:
            check_identity(before, identity, out)
        plots = [Plot.of(slide, found, config) for slide, found in zip(open_slides, regions, strict=True)]
        parts = split(_cached(plots, config.cache_mb * 1e6), config)
        trainer = Trainer(config, parts, device, ranks)
        if before is not None:
            trainer.restore(before)
        if ranks.is_first:
            out.mkdir(parents=True, exist_ok=True)
        book = opened.enter_context(Logbook(out, config.classes, with_board=config.tensorboard))
        for report in trainer.epochs():
            if ranks.is_first:
                store_checkpoint(out, config, identity, trainer.state(), processes=ranks.count)
                book.note(trainer.reports, trainer.seen)
                if progress is not None:
                    progress(report)
        if ranks.is_first:
            trainer.finish(out)
        ranks.together()
        return out / WEIGHTS


def _cached(plots: Sequence[Plot], budget: float) -> list[Plot]:
    """The plots in order, as many of them in memory as fit into `budget` bytes."""
    result = []
    for plot in plots:
        needed = 3 * plot.grid.size.area
        fits = needed <= budget
        budget -= needed if fits else 0
        result.append(plot.with_picture() if fits else plot)
    return result
