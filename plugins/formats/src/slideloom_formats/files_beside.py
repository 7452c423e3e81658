"""Slides whose pixels lie in other files than the one that is opened: MIRAX, Hamamatsu's VMS and VMU, Olympus' VSI."""

from __future__ import annotations

from pathlib import Path


def files_beside(path: Path) -> list[Path]:
    """The other files of a slide; none if it has none, or is of another format.

    MIRAX has a folder with the slide's name beside it, and Hamamatsu's VMS and VMU files name their images.

    Raises:
        OSError: the file cannot be read.
    """
    kind = path.suffix.lower()
    if kind == ".mrxs" and path.with_suffix("").is_dir():
        return [file for file in sorted(path.with_suffix("").rglob("*")) if file.is_file()]
    return _named_in(path) if kind in (".vms", ".vmu") else []


def missing_part(path: Path) -> str | None:
    """Why a file does not hold its slide's pixels, and what to do; None if it does, or nobody knows.

    A MIRAX file is a small picture of the slide, Hamamatsu's VMS and VMU are lists of files, and Olympus' VSI holds
    small pictures only, beside a folder of .ets files.
    """
    kind = path.suffix.lower()
    if not path.is_file():
        return None
    if kind == ".mrxs":
        if not (path.with_suffix("") / "Slidedat.ini").is_file():
            return (
                f"its data folder {path.stem} with Slidedat.ini is not beside it, and the file itself is only a small "
                "picture of the slide: copy the folder, too"
            )
    elif kind in (".vms", ".vmu"):
        gone = [name for name in _names_in(path, "ImageFile") if not path.with_name(name).is_file()]
        if gone:
            return f"{len(gone)} of the files that it names are not beside it, such as {gone[0]}: copy them, too"
    elif kind == ".vsi":
        data = path.with_name(f"_{path.stem}_")
        where = (
            f"in {data.name}, and no reader takes them" if data.is_dir() else f"in {data.name}, which is not beside it"
        )
        return (
            f"it holds small pictures only; a VSI slide's pixels are .ets files {where}: convert the slide to OME-TIFF "
            "where both are, as with: bfconvert"
        )
    return None


def _named_in(path: Path) -> list[Path]:
    """The files beside a text file of `key = file name` lines that these lines name."""
    return [path.with_name(name) for name in _names_in(path) if path.with_name(name).is_file() and name != path.name]


def _names_in(path: Path, key: str = "") -> list[str]:
    """The plain file names in a text file of `key = file name` lines whose key begins like this."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = [line.partition("=") for line in lines if "=" in line and line.strip().startswith(key)]
    names = dict.fromkeys(value.strip() for _, _, value in pairs)
    return [name for name in names if name and not {"/", "\\", "\0"} & set(name)]
