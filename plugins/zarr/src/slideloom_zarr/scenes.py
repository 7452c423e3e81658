"""Which image of an OME-Zarr store is the slide.

Source: OME-Zarr 0.4 and 0.5, "bioformats2raw.layout" and "plate".
"""

from __future__ import annotations

from attrs import frozen
from slideloom import SlideError, option_given

from slideloom_zarr.metadata import Multiscale, image_names, is_aside, multiscale
from slideloom_zarr.store import Attributes, Store

_LAYOUT = "bioformats2raw.layout"
_TOLD = 8


@frozen
class Scene:
    """An image of a store.

    Attributes:
        group: that it is in, or "".
        name: or "".
        image: what it says of itself.
    """

    group: str
    name: str
    image: Multiscale


def chosen_scene(store: Store, attributes: Attributes, wanted: int | None) -> Scene:
    """The image to show: the wanted one, or the only one that is no label or macro image.

    Raises:
        SlideError: there are several, or none that can be understood.
    """
    name = store.name
    if "plate" in attributes:
        raise SlideError(f"{name}: is a plate of many images; name the folder of one, such as {name}/A/1/0")
    groups = [""] if "multiscales" in attributes else _groups(store)
    names = _names(store, groups)
    if wanted is not None:
        if wanted >= len(groups):
            raise SlideError(f"{name}: has no scene {wanted}; it has {_listed(groups, names)}")
        number = wanted
    else:
        slides = [number for number, name in enumerate(names) if not is_aside(name)]
        if len(slides) != 1:
            raise SlideError(
                f"{name}: holds {len(groups)} images: {_listed(groups, names)}; choose one, as with "
                f"{option_given('slides', 'reader', 'ome-zarr:scene=0')}"
            )
        number = slides[0]
    try:
        own = attributes if not groups[number] else store.attributes(groups[number])
        return Scene(groups[number], names[number], multiscale(own))
    except (OSError, ValueError) as error:
        raise SlideError(f"{name}: image {groups[number] or name}: {error}; copy it again") from error


def _groups(store: Store) -> list[str]:
    """The groups that are images, where a file of several was converted."""
    try:
        listed = store.attributes("OME").get("series")
        if isinstance(listed, list) and listed:
            return [str(name) for name in listed]
    except (OSError, ValueError):  # it may leave the list out
        pass
    found: list[str] = []
    while any(store.has(f"{len(found)}/{name}") for name in ("zarr.json", ".zattrs")):
        found.append(str(len(found)))
    if not found:
        raise SlideError(f"{store.name}: holds no image, as its {_LAYOUT} says; copy it again from its source")
    return found


def _names(store: Store, groups: list[str]) -> list[str]:
    try:
        names = image_names(store.text("OME/METADATA.ome.xml"))
    except (OSError, ValueError):
        names = []
    return names if len(names) == len(groups) else [""] * len(groups)


def _listed(groups: list[str], names: list[str]) -> str:
    listed = [f"{number} ({name})" if name else str(number) for number, name in enumerate(names)]
    return ", ".join(listed[:_TOLD]) + (", ..." if len(groups) > _TOLD else "")
