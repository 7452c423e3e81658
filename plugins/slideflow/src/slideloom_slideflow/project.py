"""`Project` by Slideflow's names: the folder with `settings.json` and `datasets.json`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import slideloom
from slideloom import ConfigError
from slideloom.base.addresses import local_path
from slideloom.base.storing import storing_in, write_json
from slideloom_cohort.slides import source_slides

from slideloom_slideflow.adapting import Refusing, adapted
from slideloom_slideflow.annotating import annotations_from
from slideloom_slideflow.choosing import names_of
from slideloom_slideflow.dataset import Dataset
from slideloom_slideflow.extraction import extract
from slideloom_slideflow.project_files import DEFAULTS, SETTINGS, read_json, sources_of, whole


class Project(Refusing):
    """A project that Slideflow or the drop-in made.

    Args:
        root: its folder.
        create: make it where there is none.
        name, annotations, dataset_config, sources, models_dir, eval_dir: of a new project.

    Raises:
        ConfigError: there is none and none is to be made, or there is one and settings for a new one are given.
    """

    peer = "Project"

    @adapted("Project")
    def __init__(
        self,
        root: str | Path,
        use_neptune: bool = False,
        create: bool = False,
        *,
        name: str | None = None,
        annotations: str | Path | None = None,
        dataset_config: str | Path | Mapping[str, Any] | None = None,
        sources: str | Sequence[str] | None = None,
        models_dir: str | Path | None = None,
        eval_dir: str | Path | None = None,
    ) -> None:
        self.root = str(root)
        self._home = Path(root).expanduser().absolute()
        given = {
            "name": name,
            "annotations": annotations,
            "dataset_config": dataset_config,
            "sources": sources,
            "models_dir": models_dir,
            "eval_dir": eval_dir,
        }
        new = {key: value for key, value in given.items() if value is not None}
        if (self._home / SETTINGS).exists():
            if new:
                raise ConfigError(f"{self._home}: is a project already; open it without {', '.join(new)}")
            self._settings = {**DEFAULTS, **read_json(self._home / SETTINGS)}
        elif create:
            self._settings = dict(DEFAULTS)
            self._make(new)
        else:
            raise ConfigError(
                f"{self._home}: is not a project, it has no {SETTINGS}; make one with create=True or create_project"
            )

    def _make(self, new: Mapping[str, Any]) -> None:
        for key, value in new.items():
            self._settings[key] = names_of(value) if key == "sources" else value
        config = self._settings["dataset_config"]
        with storing_in(self._home):
            self._home.mkdir(parents=True, exist_ok=True)
        if isinstance(config, Mapping):
            self._settings["dataset_config"] = DEFAULTS["dataset_config"]
            write_json(Path(self.dataset_config), config)
        self.save()

    def __repr__(self) -> str:
        return f"<Project {self.name}: {self.root}; sources: {', '.join(self.sources) or 'none'}>"

    @property
    def name(self) -> str:
        """Its name."""
        return str(self._settings["name"])

    @property
    def annotations(self) -> str:
        """Path of the annotations, whether they are there or not."""
        return str(whole(self._settings["annotations"], self._home))

    @annotations.setter
    def annotations(self, val: str | Path) -> None:
        self._settings["annotations"] = str(val)

    @property
    def dataset_config(self) -> str:
        """Path of the configuration of sources."""
        return str(whole(self._settings["dataset_config"], self._home))

    @property
    def models_dir(self) -> str:
        """Folder for models, which slideloom leaves to others."""
        return str(whole(self._settings["models_dir"], self._home))

    @property
    def eval_dir(self) -> str:
        """Folder for evaluations, which slideloom leaves to others."""
        return str(whole(self._settings["eval_dir"], self._home))

    @property
    def sources(self) -> list[str]:
        """Names of sources."""
        return names_of(self._settings["sources"])

    @sources.setter
    def sources(self, v: Sequence[str]) -> None:
        self._settings["sources"] = names_of(v)

    @adapted("Project.save")
    def save(self) -> None:
        """Write `settings.json`."""
        write_json(self._home / SETTINGS, {key: _plain(value) for key, value in self._settings.items()})

    @adapted("Project.add_source")
    def add_source(
        self,
        name: str,
        *,
        slides: str | Path | None = None,
        roi: str | Path | None = None,
        tiles: str | Path | None = None,
        tfrecords: str | Path | None = None,
        path: str | Path | None = None,
    ) -> None:
        """Add a source to the dataset configuration, or change it; relative paths start from the project's folder."""
        file = Path(self.dataset_config if path is None else path)
        config = read_json(file) if file.exists() else {}
        entry = {
            "slides": slides,
            "roi": roi or self._home / "roi" / name,
            "tiles": tiles,
            "tfrecords": tfrecords or self._home / "tfrecords" / name,
        }
        config[name] = {key: _plain(value) for key, value in entry.items()}
        sources_of(config, [name], root=self._home, where=str(file))
        write_json(file, config)
        if path is not None:
            self._settings["dataset_config"] = str(path)
        if name not in self.sources:
            self._settings["sources"] = [*self.sources, name]
        self.save()

    @adapted("Project.dataset")
    def dataset(
        self,
        tile_px: int | None = None,
        tile_um: float | str | None = None,
        *,
        verification: str | None = "both",
        filters: Mapping[str, Any] | None = None,
        filter_blank: str | Sequence[str] | None = None,
        sources: str | Sequence[str] | None = None,
        annotations: Any = None,
        min_tiles: int = 0,
    ) -> Dataset:
        """The slides of the project, of one tile size."""
        file = Path(self.dataset_config)
        config = read_json(file) if file.exists() else {}
        whole_config = {name: _from_home(entry, self._home) for name, entry in config.items()}
        own = self.annotations if Path(self.annotations).exists() else None
        return Dataset(
            whole_config,
            sources or self.sources or None,
            tile_px,
            tile_um,
            filters=filters,
            filter_blank=filter_blank,
            annotations=own if annotations is None else annotations,
            min_tiles=min_tiles,
        )

    @adapted("Project.extract_tiles")
    def extract_tiles(
        self,
        tile_px: int,
        tile_um: float | str,
        *,
        filters: Mapping[str, Any] | None = None,
        filter_blank: str | Sequence[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, slideloom.SlideReport]:
        """Cut the slides into tiles; gives the report of each slide by its path."""
        return extract(self.dataset(tile_px, tile_um, filters=filters, filter_blank=filter_blank).ours, kwargs)

    @adapted("Project.create_blank_annotations")
    def create_blank_annotations(self, filename: str | Path | None = None) -> None:
        """Write annotations with a row per slide, each its own patient; a file that is there is not replaced.

        Raises:
            ConfigError: there is a file.
        """
        file = Path(filename or self.annotations)
        if file.exists():
            raise ConfigError(f"{file}: is there already; remove it, or name another file")
        dataset = self.dataset()
        names = [slide.name for each in dataset.sources.values() for slide in source_slides(each)]
        rows = [(name, name, "", "") for name in sorted(names)]
        with storing_in(file.parent):
            slideloom.write_whole(
                file, slideloom.utf8(slideloom.csv_text(("patient", "slide", "dataset", "category"), rows))
            )


@adapted("load_project")
def load_project(root: str | Path, **kwargs: Any) -> Project:
    """The project in a folder."""
    return Project(root)


@adapted("create_project")
def create_project(
    root: str | Path,
    cfg: str | Path | Mapping[str, Any] | None = None,
    *,
    download: bool = False,
    md5: bool = False,
    name: str | None = None,
    slides: str | Path | None = None,
    tiles: str | Path | None = None,
    tfrecords: str | Path | None = None,
    rois: str | Path | None = None,
    roi_dest: str | Path | None = None,
    annotations: str | Path | None = None,
    dataset_config: str | Path | Mapping[str, Any] | None = None,
    sources: str | Sequence[str] | None = None,
    models_dir: str | Path | None = None,
    eval_dir: str | Path | None = None,
) -> Project:
    """Make a project with one source, which has the project's name.

    Args:
        root: its folder.
        cfg: the keywords below as a dictionary or a JSON file; keywords go before it.
        name: of the project; by default "MyProject".
        slides, tiles, tfrecords: folders; by default those of these names in the project's.
        rois: folder of region files; they stay there. By default the folder "rois" of the slides'.
        roi_dest: the same under another name.
        annotations: CSV, which is copied into the project's folder.
        dataset_config, sources, models_dir, eval_dir: as `Project`.

    Raises:
        ConfigError: there is a project already, or the annotations have mistakes.
    """
    table = _config(cfg)
    asked = {"name": name, "slides": slides, "tiles": tiles, "tfrecords": tfrecords, "rois": rois,
             "roi_dest": roi_dest, "annotations": annotations}  # fmt: skip
    chosen = {**table, **{key: value for key, value in asked.items() if value is not None}}
    home = Path(root).expanduser().absolute()
    copied = None
    if chosen.get("annotations") is not None:
        given = Path(chosen["annotations"]).expanduser()
        annotations_from(given)
        copied = home / given.name
    project = Project(
        root,
        create=True,
        name=str(chosen.get("name", DEFAULTS["name"])),
        annotations=copied,
        dataset_config=dataset_config,
        sources=sources,
        models_dir=models_dir,
        eval_dir=eval_dir,
    )
    if copied is not None and not (copied.exists() and copied.samefile(given)):
        with storing_in(home):
            shutil.copyfile(given, copied)
    if sources is None:
        folder = _absolute(chosen.get("slides")) or home / "slides"
        project.add_source(
            project.name,
            slides=folder,
            tiles=_absolute(chosen.get("tiles")) or home / "tiles",
            tfrecords=_absolute(chosen.get("tfrecords")) or home / "tfrecords",
            roi=_absolute(chosen.get("roi_dest") or chosen.get("rois")) or folder / "rois",
        )
    return project


def _absolute(path: str | Path | None) -> Path | None:
    """A path that a caller gave: it starts from the current folder."""
    return None if path is None else local_path(path).expanduser().absolute()


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


def _from_home(entry: Any, home: Path) -> Any:
    """A source's folders, made whole; what is no object is left for others to refuse."""
    if not isinstance(entry, Mapping):
        return entry
    return {key: str(whole(value, home)) if isinstance(value, str) and value else value for key, value in entry.items()}


def _config(cfg: str | Path | Mapping[str, Any] | None) -> dict[str, Any]:
    """Keywords out of a dictionary or a file, whose paths start from its folder.

    Raises:
        ConfigError: it holds something else.
    """
    known = ("name", "slides", "tiles", "tfrecords", "rois", "roi_dest", "annotations")
    if cfg is None:
        return {}
    table = dict(cfg) if isinstance(cfg, Mapping) else read_json(Path(cfg))
    for key in table:
        if key not in known:
            raise ConfigError(f"create_project: cfg: '{key}' is not offered (known: {', '.join(known)})")
    if not isinstance(cfg, Mapping):
        folder = Path(cfg).expanduser().absolute().parent
        table = {key: value if key == "name" else str(whole(value, folder)) for key, value in table.items()}
    return table
