"""Reference pages out of the code: `python docs/gen_reference.py docs` writes them anew.

They are kept in the repository, so that links to them lead somewhere in a clone, too. A test compares them with the
code.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any

import attrs
import slideloom
import slideloom_formats
import slideloom_testing
from slideloom import steps
from slideloom.pipeline.pipeline import QcUse, RoiUse, RunOptions, Slides
from slideloom.pipeline.tile_masks import TileMasks
from slideloom.pipeline.tiling import Tiling
from slideloom.pipeline.words import TABLES, words
from slideloom.plugins import hookspecs
from slideloom.plugins.discovery import Plugin, registry
from slideloom.plugins.hookspecs import KINDS
from slideloom.settings.options import OptionInfo, options_of
from slideloom.slides.info import SlideInfo
from slideloom.slides.slide import Slide
from slideloom.steps import reports
from slideloom_cli import main as cli
from slideloom_testing import contracts

_SECTION = re.compile(r"(Args|Returns|Raises|Attributes|Source|Sources|Yields):\s*(.*)")
_WIDTH = 100
_ITEM = re.compile(r"([\w*][\w*, .]*?):\s+(.*)")


# The modules of contracts, in the order that a slide meets them.
_STEPS = (
    "reader", "roi_source", "scene", "slide_qc", "tile_filter", "normalizer", "sink", "placement", "store", "executor",
    "format",
)  # fmt: skip

# The modules of `slideloom_formats` for readers.
_FORMATS = ("tiff", "dicom", "ome_xml", "jpeg_2000", "files_beside", "grid_slide")


def hooks_page() -> str:
    """Every hook with its arguments."""
    lines = [
        "# Hooks",
        "",
        (
            "A plugin is a package whose entry point in the group "
            f"`{hookspecs.ENTRY_POINT_GROUP}` names a module; functions in that module that are decorated with "
            "`slideloom.hookimpl` and named as below are its hooks. The group carries the version of this interface: "
            "arguments may be added, their meaning never changes, and a break would be a new group."
        ),
        "",
        "A function may take fewer arguments than the hook offers.",
    ]
    for name, function in hook_specs():
        lines += ["", f"## {name}", "", *_signature(name, function), "", *_docstring(function)]
    for value in (hookspecs.Command, hookspecs.Library, hookspecs.RemoteFiles, hookspecs.Reporter):
        lines += ["", f"## {value.__name__}", "", *_docstring(value)]
    return _joined(lines)


def hook_specs() -> list[tuple[str, Callable[..., Any]]]:
    """Hook names and specifications, in the order of the file."""
    return [(name, value) for name, value in vars(hookspecs).items() if name.startswith("slideloom_")]


def steps_page() -> str:
    """The contracts of all kinds of steps."""
    lines = ["# Steps", "", *_docstring(steps), ""]
    lines += ["The kinds and the names they have in pipeline files and messages:", "", "| kind | hook |", "|---|---|"]
    lines += [f"| {kind} | [`{hook}`](hooks.md#{hook}) |" for kind, hook in KINDS.items()]
    for cls in [*_contracts(), Slide, SlideInfo]:
        lines += ["", f"## {cls.__name__}", "", *_docstring(cls)]
        for name, function in _own_methods(cls):
            lines += ["", f"### {cls.__name__}.{name}", "", *_signature(name, function), "", *_docstring(function)]
    return _joined(lines)


def _contracts() -> list[type[Any]]:
    """The public classes of the package of contracts, by kind of step and then in the order of the file."""
    modules = (import_module(f"{steps.__name__}.{name}") for name in _STEPS)
    return [
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value) and value.__module__ == module.__name__
    ]


def settings_page() -> str:
    """The options of every installed step."""
    lines = [
        "# Steps that come with slideloom",
        "",
        (
            "All options of all steps. In a pipeline file they stand beside `use`; on the command line after a colon: "
            "`--qc pen:mpp=8`. `slideloom plugins --verbose` prints the same for what you have installed."
        ),
    ]
    for kind in KINDS:
        found = [(plugin, cls) for plugin in _own_plugins() for cls in plugin.steps.get(kind, ())]
        if found:
            lines += ["", f"## {kind}"]
        for plugin, cls in sorted(found, key=lambda pair: pair[1].name):
            lines += ["", f"### {kind} {cls.name}", "", f"Of `{plugin.dist}`.", "", *_docstring(cls), ""]
            lines += _options(cls)
    return _joined(lines)


def pipeline_page() -> str:
    """The tables and keys of a pipeline file."""
    tables: list[tuple[str, type[Any], str, Sequence[str]]] = [
        ("[slides]", Slides, "Which slides, and how they are read.", ()),
        ("[tiles]", Tiling, "Size and places of tiles. Either `size_um` or `magnification` is needed.", ()),
        ("[mask]", TileMasks, "Masks to store with tiles; without this table, none are.", ()),
        ("[[roi]]", RoiUse, "Any number of region sources; their own options stand beside these.", ("source",)),
        ("[[qc]]", QcUse, "Any number of slide QC steps, in order; their own options stand beside these.", ("step",)),
        ("[run]", RunOptions, "How to run. Nothing here changes the tiles, so it may differ when a run goes on.", ()),
    ]
    lines = [
        "# Pipeline file",
        "",
        (
            "A TOML file, read strictly: an unknown table or key, a wrong type or a value out of range is a mistake; "
            "`slideloom check FILE` prints all at once, each with the file, the key and the nearest known name. "
            "Relative paths start from the file's folder. The command line, a file and Python make the same object, "
            "`slideloom.Pipeline`, and read the same options: beside each stands its flag and its keyword argument "
            "(of `Project.extract_tiles` and `WSI`) where those are not its name."
        ),
        "",
        "The file starts with `slideloom = 1`, the version of this layout.",
        "",
        "| table | what it says |",
        "|---|---|",
        "| `[slides]`, `[tiles]`, `[mask]`, `[run]` | below |",
        "| `[[roi]]`, `[[qc]]` | steps: `use` is a step's name; below, and [their options](settings.md) |",
        "| `[[filter]]` | tile filters in order; without any, `grayspace` runs; `filter = []` is none |",
        "| `[normalizer]` | at most one |",
        "| `[placement]` | where tiles are, instead of the grid |",
        "| `[[sink]]` | where tiles go; without any, TFRecords |",
        "",
        'Where two plugins offer a step of the same name, write `use = "distribution/name"`.',
    ]
    for title, cls, text, left_out in tables:
        lines += ["", f"## {title}", "", text, "", *_options(cls, left_out=left_out, said=said_elsewhere(cls))]
    return _joined(lines)


def said_elsewhere(cls: type[Any]) -> dict[str, str]:
    """What flags and keyword arguments options of the core's own tables have, where they differ from their names."""
    found: dict[str, str] = {}
    for word in words():
        for name in word.options if TABLES[word.table] is cls else ():
            flags = () if word.flags == ("--" + name.replace("_", "-"),) else word.flags
            argument = () if word.name == name else (word.name,)
            found[name] = ", ".join(f"`{text}`" for text in (*flags, *argument))
    return found


def command_line_page() -> str:
    """The help of every command."""
    lines = [
        "# Command line",
        "",
        (
            "The exit code is 0 only if all went well: 1 means that a slide or the run failed, or that a value was "
            "refused, 2 that a command or a flag is not known or is missing, 130 that it was interrupted."
        ),
        "",
        *_fenced(_parser_of([]).format_help()),
    ]
    for name in command_names():
        lines += _help_of(f"slideloom {name}", _subcommands(_parser_of([name]))[name], depth=2)
    return _joined(lines)


def command_names() -> list[str]:
    """All commands, those of plugins included."""
    return list(_subcommands(_parser_of([])))


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    found = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return dict(found[0].choices) if found else {}


def _help_of(title: str, parser: argparse.ArgumentParser, *, depth: int) -> list[str]:
    lines = ["", f"{'#' * depth} {title}", "", *_fenced(parser.format_help())]
    for name, sub in _subcommands(parser).items():
        lines += _help_of(f"{title} {name}", sub, depth=depth + 1)
    return lines


def _parser_of(words: Sequence[str]) -> argparse.ArgumentParser:
    parser = cli._parser(words)
    _widen(parser)
    return parser


def _widen(parser: argparse.ArgumentParser) -> None:
    """Line breaks must not depend on the terminal in which the pages are built."""
    parser.formatter_class = lambda prog: argparse.HelpFormatter(prog, width=88, max_help_position=28)  # type: ignore[assignment, return-value]
    for sub in _subcommands(parser).values():
        _widen(sub)


def python_page() -> str:
    """The names that people use in scripts, notebooks and programs."""
    names = [name for name in slideloom.__all__ if name != "__version__"]
    return _names_page(
        "Python",
        "What scripts, notebooks and programs use: `import slideloom as sl`, then `sl.WSI`. Names are imported when "
        "they are used. More, for those who write plugins, is on [Python for plugins](python-for-plugins.md).",
        names,
    )


def plugins_python_page() -> str:
    """The other public names."""
    return _names_page(
        "Python for plugins",
        "What plugins use besides the names on [Python](python.md): contracts of steps, their options, helpers for "
        "files. `from slideloom import Reader`; a plugin needs no module below `slideloom`. What files hold "
        "is on [Python for readers](python-for-readers.md).",
        sorted(set(slideloom._HOME_OF) - set(slideloom.__all__)),
    )


def readers_python_page() -> str:
    """What `slideloom_formats` offers to readers."""
    lines = ["# Python for readers", "", *_docstring(slideloom_formats)]
    for module in (import_module(f"{slideloom_formats.__name__}.{name}") for name in _FORMATS):
        names = getattr(module, "__all__", None) or _defined_in(module)
        lines += ["", f"## {module.__name__}", "", *_docstring(module)]
        for name in names:
            lines += ["", f"### {name}", "", *_member(name, getattr(module, name), depth=4)]
    return _joined(lines)


def _defined_in(module: ModuleType) -> list[str]:
    """Its public classes and functions."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def _names_page(title: str, about: str, names: Sequence[str]) -> str:
    lines = [f"# {title}", "", about]
    for name in names:
        lines += ["", f"## {name}", "", *_member(name, getattr(slideloom, name))]
    return _joined(lines)


def _member(name: str, value: Any, *, depth: int = 3) -> Iterator[str]:
    if inspect.isclass(value):
        if not inspect.isabstract(value) and not issubclass(value, Exception):
            yield from [*_signature(name, value), ""]
        yield from _docstring(value)
        for method, function in _own_methods(value):
            yield from [
                "",
                f"{'#' * depth} {name}.{method}",
                "",
                *_signature(method, function),
                "",
                *_docstring(function),
            ]
    elif inspect.isfunction(value):
        yield from [*_signature(name, value), "", *_docstring(value)]
    else:
        yield f"`{re.sub(' at 0x[0-9a-f]+', '', repr(value))[:200]}`"


def testing_page() -> str:
    """The contracts and helpers of `slideloom_testing`."""
    lines = ["# Testing", "", *_docstring(slideloom_testing), "", *_docstring(contracts)]
    for name in contracts.__all__:
        cls = getattr(contracts, name)
        lines += ["", f"## {name}", "", *_docstring(cls), ""]
        tests = [(test, function) for test, function in _own_methods(cls) if test.startswith("test_")]
        for test, function in tests:
            lines.append(f"- *{test.removeprefix('test_').replace('_', ' ')}*: {_first_line(function)}")
    for name in slideloom_testing.__all__:
        if name not in contracts.__all__:
            lines += ["", f"## {name}", "", *_member(name, getattr(slideloom_testing, name))]
    return _joined(lines)


def reports_page() -> str:
    """What a run leaves as data."""
    lines = [
        "# Reports as data",
        "",
        (
            "`extraction_report.json` in the output folder is a `RunReport`; "
            "`slideloom/<label>/slides/<slide>.json` is a `SlideReport`. `--json` prints the former."
        ),
    ]
    for cls in (reports.RunReport, reports.SlideReport):
        lines += ["", f"## {cls.__name__}", "", *_docstring(cls), "", "| key | type |", "|---|---|"]
        lines += [f"| `{attribute.name}` | `{_escape(str(attribute.type))}` |" for attribute in attrs.fields(cls)]
    return _joined(lines)


PAGES: dict[str, Callable[[], str]] = {
    "reference/command-line.md": command_line_page,
    "reference/pipeline-file.md": pipeline_page,
    "reference/settings.md": settings_page,
    "reference/reports.md": reports_page,
    "reference/python.md": python_page,
    "reference/python-for-plugins.md": plugins_python_page,
    "reference/python-for-readers.md": readers_python_page,
    "reference/steps.md": steps_page,
    "reference/hooks.md": hooks_page,
    "reference/testing.md": testing_page,
}


def _own_plugins() -> list[Plugin]:
    """The plugins of this repository, whatever else is installed."""
    root = Path(__file__).parents[1]
    broken = [f"{plugin.dist}: {plugin.error}" for plugin in registry().plugins if plugin.error]
    if broken:
        raise RuntimeError(f"the reference needs every plugin; not loaded: {'; '.join(broken)}")
    return [plugin for plugin in registry().plugins if Path(plugin.file).is_relative_to(root) or plugin.name == "core"]


def _options(
    cls: type[Any], *, left_out: Sequence[str] = (), said: Mapping[str, str] = MappingProxyType({})
) -> list[str]:
    infos = [info for info in options_of(cls).values() if info.name not in left_out]
    if not infos:
        return ["It takes no options."]
    more = " flag, argument |" if said else ""
    lines = [f"| option | type | default | |{more}", "|---|---|---|---|" + ("---|" if said else "")]
    return lines + [
        f"| `{info.name}` | {_type_of(info)} | {_default_of(info)} | {_escape(info.help)} |"
        + (f" {_escape(said.get(info.name, ''))} |" if said else "")
        for info in infos
    ]


def _type_of(info: OptionInfo) -> str:
    return _escape(" ".join(filter(None, (info.type_text, info.range)))) + (f", {info.unit}" if info.unit else "")


def _default_of(info: OptionInfo) -> str:
    if info.is_required:
        return "required"
    if info.default is None:
        return ""
    values = {True: "true", False: "false"}
    text = values.get(info.default, info.default) if isinstance(info.default, bool) else info.default
    if isinstance(text, tuple):
        text = [str(item) for item in text]
    return f"`{_escape(str(text))}`"


def _own_methods(cls: type[Any]) -> Iterator[tuple[str, Any]]:
    """Public methods and properties of a class, those of bases in this project included."""
    seen = set()
    for base in cls.__mro__:
        if not base.__module__.startswith("slideloom"):
            continue
        for name, value in vars(base).items():
            function = getattr(value, "__func__", value)
            is_ours = inspect.isfunction(function) or isinstance(function, property)
            if not name.startswith("_") and name not in seen and is_ours:
                seen.add(name)
                yield name, function


def _signature(name: str, function: Any) -> list[str]:
    """How something is called; a property is shown with its type."""
    if isinstance(function, property):
        return _fenced(f"{name}: {_annotation(inspect.signature(function.fget).return_annotation)}", "python")
    signature = inspect.signature(function)
    if inspect.isclass(function) and attrs.has(function):
        signature = _with_types(function, signature)
    parts = list(_arguments(signature))
    is_class = inspect.isclass(function) or signature.return_annotation is inspect.Signature.empty
    result = "" if is_class else f" -> {_annotation(signature.return_annotation)}"
    text = f"{name}({', '.join(parts)}){result}"
    if len(text) > _WIDTH:
        text = f"{name}(\n" + "".join(f"    {part},\n" for part in parts) + f"){result}"
    return _fenced(text, "python")


def _with_types(cls: type[Any], signature: inspect.Signature) -> inspect.Signature:
    """Arguments with the types of the options they are; attrs shows what the converter of each takes, anything."""
    made_by_option = [attribute.name for attribute in attrs.fields(cls) if "finite" in attribute.metadata]
    types = {name: options_of(cls)[name].type for name in made_by_option}
    arguments = signature.parameters.items()
    return signature.replace(
        parameters=[each.replace(annotation=types.get(name, each.annotation)) for name, each in arguments]
    )


def _arguments(signature: inspect.Signature) -> Iterator[str]:
    marks = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    has_star = False
    for parameter in signature.parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and not has_star:
            yield "*"
        has_star |= parameter.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_POSITIONAL)
        text = f"{marks.get(parameter.kind, '')}{parameter.name}"
        if parameter.annotation is not inspect.Parameter.empty:
            text += f": {_annotation(parameter.annotation)}"
        if parameter.default is not inspect.Parameter.empty:
            # Addresses and factories say nothing to a reader, and differ from build to build.
            default = repr(parameter.default)
            text += " = ..." if " at 0x" in default or default in ("NOTHING", "<factory>") else f" = {default}"
        yield text


def _annotation(annotation: Any) -> str:
    """As in the source, without module names."""
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Z])", "", text.strip("'"))


def _fenced(text: str, language: str = "text") -> list[str]:
    return [f"```{language}", text.rstrip(), "```"]


def _first_line(thing: Any) -> str:
    return (inspect.getdoc(thing) or "").split("\n")[0]


def _docstring(thing: Any) -> list[str]:
    """A docstring in Google's form as Markdown lines."""
    text = thing.__doc__ or "" if isinstance(thing, type | ModuleType) else inspect.getdoc(thing) or ""
    lines: list[str] = []
    section, in_block = "", False
    for line in inspect.cleandoc(text).split("\n"):
        match = _SECTION.fullmatch(line)
        if match:
            section = match[1]
            lines += ["", f"**{section}**", "", *([match[2]] if match[2] else [])]
        elif section and line.startswith("    "):
            lines += _section_line(line[4:])
        else:
            if line:
                section = ""
            code = line.startswith("    ") and not section
            if code != in_block and line:
                lines.append("```python" if code else "```")
                in_block = code
            lines.append(line[4:] if code else line)
    if in_block:
        lines.append("```")
    return lines


def _section_line(line: str) -> list[str]:
    item = None if line.startswith(" ") else _ITEM.fullmatch(line)
    if item:
        return [f"- `{item[1]}`: {item[2]}"]
    return [f"  {line.strip()}"] if line.startswith(" ") else [line]


def _escape(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _joined(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"


def write_pages(folder: Path) -> None:
    """Write every page below a folder."""
    for uri, make in PAGES.items():
        path = folder / uri
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    write_pages(Path(sys.argv[1]))
