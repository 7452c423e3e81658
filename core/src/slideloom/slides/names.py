"""Slides with their names, and what the names of a cohort may not share.

A slide is called by its file. If it was found below a folder that somebody named, its name also tells the folders on
the way, divided by `/` on every system: `lab1/case7/slide`. So files of one name in different folders are different
slides, and every output of a slide lies in folders of these names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from unicodedata import normalize
from urllib.parse import unquote

from attrs import evolve, frozen

from slideloom.base.addresses import Address, SlidePlace, place_of
from slideloom.slides.info import names_of, slide_name


@frozen
class NamedSlide:
    """Where a slide is, and what it is called.

    Attributes:
        place: its file, or the address of one that is not local.
        name: as `slide_name` gives it, or with folders before that.
        shares_name: True if another slide has the same name but for the folders, so that only names with folders tell
            them apart.
    """

    place: SlidePlace
    name: str
    shares_name: bool = False

    @classmethod
    def of(cls, given: SlidePlace | NamedSlide | str) -> NamedSlide:
        """The slide as it is, or named by its file."""
        if isinstance(given, NamedSlide):
            return given
        place = place_of(given)
        return cls(place, slide_name(place))

    def __str__(self) -> str:
        return str(self.place)

    @property
    def names(self) -> tuple[str, ...]:
        """See `SlideInfo.names`."""
        return names_of(self.place, self.name, shares_name=self.shares_name)


def name_below(place: SlidePlace, folder: SlidePlace) -> str:
    """The name of a slide that was found in a folder or below it.

    Nothing is checked: whoever makes a path of a name uses `path_of_name`.
    """
    between: Sequence[str] = ()
    if isinstance(place, Path) and isinstance(folder, Path):
        between = place.relative_to(folder).parts[:-1]
    elif isinstance(place, Address) and isinstance(folder, Address):
        home, path = (_unquoted(each) for each in (folder.without_slash(), place))
        between = path.removeprefix(f"{home}/").split("/")[:-1] if path.startswith(f"{home}/") else ()
    return "/".join((*between, slide_name(place)))


def _unquoted(address: Address) -> str:
    """An address as it is on every kind of store, with the names that files would have on a disk."""
    return unquote(address.url.partition("?")[0]) if address.is_web else address.url


def own_name(name: str) -> str:
    """A slide's name without folders."""
    return name.rpartition("/")[2]


def folders_of(name: str) -> Iterator[str]:
    """The folders in a slide's name, the outermost first: "a" and "a/b" of "a/b/slide"."""
    parts = name.split("/")[:-1]
    return ("/".join(parts[: count + 1]) for count in range(len(parts)))


def clashing(slides: Sequence[NamedSlide], *, folders: bool) -> dict[NamedSlide, str]:
    """Slides whose outputs could not be told from those of another, with the reason and the remedy.

    Of two names that some file systems take for one, the second is refused. Names without folders are compared as they
    are.

    Args:
        slides: all slides of a cohort.
        folders: True if a sink makes a folder of each slide's name; then no other slide may lie in such a folder.
    """
    found: dict[NamedSlide, str] = {}
    first: dict[str, NamedSlide] = {}
    names = {slide.name: slide for slide in slides}
    for slide in slides:
        if "/" not in slide.name:
            continue
        other = first.setdefault(_on_any_disk(slide.name), slide)
        above = next((names[folder] for folder in folders_of(slide.name) if folder in names), None)
        if other.name != slide.name:
            found[slide] = (
                f"{slide.place}: on some disks, its name {slide.name} is the same as {other.name}, that of "
                f"{other.place}; rename one, or its folder"
            )
        elif folders and above is not None:
            found[slide] = (
                f"{slide.place}: its folder has the name of the slide {above.place}, whose tiles go to a folder of "
                "that name; rename one, or store tiles in files instead of folders"
            )
    return found


def alike_on_some_disks(slides: Sequence[NamedSlide]) -> dict[NamedSlide, NamedSlide]:
    """For each slide whose name without folders some file systems take for that of an earlier one, that one.

    They are not refused, as most disks tell them apart.
    """
    first: dict[str, NamedSlide] = {}
    others = {slide: first.setdefault(_on_any_disk(slide.name), slide) for slide in slides if "/" not in slide.name}
    return {slide: other for slide, other in others.items() if other.name != slide.name}


def with_shared_names(slides: Collection[NamedSlide], among: Collection[NamedSlide]) -> list[NamedSlide]:
    """The slides, each knowing whether its name without folders is that of several slides `among` these."""
    counts = Counter(_on_any_disk(own_name(slide.name)) for slide in among)
    return [evolve(slide, shares_name=counts[_on_any_disk(own_name(slide.name))] > 1) for slide in slides]


def _on_any_disk(name: str) -> str:
    """What names have in common that some file systems do not tell apart: by case, accents, or dots at the end."""
    return "/".join(normalize("NFC", part).casefold().rstrip(". ") for part in name.split("/"))
