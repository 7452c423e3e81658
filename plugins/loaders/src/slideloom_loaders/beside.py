"""What a loader gives with each tile: its mask, and its context."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import field, frozen
from slideloom.base.errors import ConfigError
from slideloom.pipeline.pipeline import Pipeline
from slideloom.steps.companions import MASK
from slideloom_cohort.slides import TiledSlides

from slideloom_loaders.from_slides import run_pipeline_of


@frozen
class Beside:
    """The companions that a loader gives with each tile.

    Attributes:
        contexts: names of contexts.
        classes: of masks: the value of each class by its name; None without masks.
    """

    contexts: tuple[str, ...] = ()
    classes: Mapping[str, int] | None = field(default=None, hash=False)

    @property
    def has_masks(self) -> bool:
        """True if masks are given."""
        return self.classes is not None

    @property
    def names(self) -> tuple[str, ...]:
        """Of all companions, the mask first."""
        return (*((MASK,) if self.has_masks else ()), *self.contexts)


def beside_of(dataset: TiledSlides, *, masks: bool, context: bool | Sequence[str]) -> Beside:
    """The companions that the runs of a dataset stored and that a loader is asked for.

    Args:
        dataset: the dataset.
        masks: give masks.
        context: give all contexts, or those with these names, such as "context_604um".

    Raises:
        ConfigError: a run stored none, or not the same as the others.
    """
    if not masks and not context:
        return Beside()
    found: Beside | None = None
    for source in {item.source.out: item.source for item in dataset.stored()}.values():
        pipeline = run_pipeline_of(source, dataset.label)
        own = Beside(_contexts(pipeline, context, str(source.out)), _classes(pipeline, masks, str(source.out)))
        if found is not None and own != found:
            raise ConfigError(
                f"sources differ in what they store with tiles: {found} and, in {source.out}, {own}; extract them alike"
            )
        found = own
    if found is None:
        raise ConfigError(f"no tiles of {dataset.label}; run extract_tiles first")
    return found


def _classes(pipeline: Pipeline, masks: bool, where: str) -> Mapping[str, int] | None:
    if masks and not pipeline.mask.of:
        raise ConfigError(f"{where}: its tiles have no masks; extract them again with tile_mask='roi', for example")
    return dict(pipeline.mask.values) if masks else None


def _contexts(pipeline: Pipeline, context: bool | Sequence[str], where: str) -> tuple[str, ...]:
    known = tuple(each.name for each in pipeline.tiles.context)
    if context is False or not context:
        return ()
    if not known:
        raise ConfigError(f"{where}: its tiles have no context; extract them again with context_um=[604], for example")
    if context is True:
        return known
    wanted = (context,) if isinstance(context, str) else tuple(context)
    missing = [name for name in wanted if name not in known]
    if missing:
        raise ConfigError(f"{where}: its tiles have no {missing[0]}; they have {', '.join(known)}")
    return wanted
