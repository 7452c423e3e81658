"""The table is what the package does: every name is there, every argument is used, told of, or refused."""

from __future__ import annotations

import ast
import inspect
import logging
import subprocess
import sys
import textwrap
from importlib import import_module
from typing import Any

import pytest
import slideloom
import slideloom_slideflow as sf
from slideloom_cohort.arguments import ExtractOptions
from slideloom_slideflow import extraction, loading
from slideloom_slideflow.table import Row, rows

slideloom_log = logging.getLogger("slideloom")
OFFERED = [row for row in rows().values() if row.status != "refused"]
REFUSED = [row for row in rows().values() if row.status == "refused"]
# Arguments that an adapter passes on in `**kwargs`: the names that whoever gets them takes.
PASSED_ON = {
    "Project.extract_tiles": set(rows()["Dataset.extract_tiles"].arguments),
    "Dataset.extract_tiles": {*ExtractOptions.__annotations__, *extraction.HANDLED},
    "Dataset.torch": set(inspect.signature(loading.torch_batches).parameters),
    "Dataset.tensorflow": set(inspect.signature(loading.tensorflow_batches).parameters),
    "ModelParams": set(rows()["ModelParams"].arguments),  # kept as they are
    "norm.StainNormalizer.set_fit": set(rows()["norm.StainNormalizer.set_fit"].arguments),  # values of the fit
    "slide.qc.DeepFocus": {"pred_threshold"},
    "Dataset.train_val_split": {"args", "kwargs"},
}
CLASSES = {
    "Project": sf.Project,
    "Dataset": sf.Dataset,
    "WSI": sf.WSI,
    "slide.ROI": sf.slide.ROI,
    "norm.StainNormalizer": sf.norm.StainNormalizer,
    "tfrecord.TFRecord": sf.TFRecord,
    "ModelParams": sf.ModelParams,
}
# Slideloom's own calls on these classes, which Slideflow has not.
OUR_CALLS = {
    "Dataset.each_tile", "Dataset.sized", "Dataset.copied", "Dataset.one_of", "Dataset.chosen_sources",
    "ModelParams.save_params",
}  # fmt: skip
MADE_BY_WSI = "slide.ROI"


def by_name(name: str) -> Any:
    """What the package has under a name of the table."""
    found: Any = sf
    for part in name.split("."):
        found = getattr(found, part)
    return found


def function_of(row: Row) -> Any:
    found = by_name(row.theirs)
    return inspect.unwrap(found.__init__ if inspect.isclass(found) else found)


@pytest.mark.parametrize("row", [row for row in OFFERED if row.theirs != MADE_BY_WSI], ids=lambda row: row.theirs)
def test_a_name_is_there_with_the_arguments_of_the_table(row: Row) -> None:
    parameters = inspect.signature(function_of(row)).parameters.values()
    named = {each.name for each in parameters if each.kind is not each.VAR_KEYWORD and each.name not in ("self", "cls")}
    gathers = any(each.kind is each.VAR_KEYWORD for each in parameters)

    assert named <= set(row.arguments), "an argument is not in the table"
    assert gathers or named == set(row.arguments), "the table has an argument that is not taken"


@pytest.mark.parametrize("row", [row for row in OFFERED if row.theirs != MADE_BY_WSI], ids=lambda row: row.theirs)
def test_an_argument_is_used_or_the_table_says_that_it_is_not(row: Row) -> None:
    function = function_of(row)
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    body = tree.body[0].body  # type: ignore[attr-defined]  # it is a function
    used = {node.id for part in body for node in ast.walk(part) if isinstance(node, ast.Name)}
    named, passed_on = set(inspect.signature(function).parameters), PASSED_ON.get(row.theirs, set())

    ignored = [name for name in row.named("same", "differs") if name not in (used if name in named else passed_on)]
    but_used = [name for name in row.named("warned", "refused") if name in used]

    assert ignored == []
    assert but_used == []


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row.theirs)
def test_a_name_that_is_refused_says_what_to_use(row: Row) -> None:
    owner, _, name = row.theirs.rpartition(".")
    kind: Any = CLASSES.get(owner)

    def ask() -> None:
        if kind is None:
            by_name(row.theirs)
        else:
            getattr(kind.__new__(kind), name)()

    with pytest.raises(sf.NotOffered) as told:
        ask()

    assert row.note in str(told.value)
    assert row.theirs in str(told.value)


@pytest.mark.parametrize(
    "line",
    [
        "import slideloom_slideflow.mil",
        "from slideloom_slideflow import mil",
        "from slideloom_slideflow.mil import mil_config",
        "from slideloom_slideflow.model import build_feature_extractor",
        "from slideloom_slideflow import Heatmap",
        "from slideloom_slideflow.slide.qc import Segment",
    ],
)
def test_importing_what_is_refused_says_what_to_use(line: str) -> None:
    with pytest.raises(sf.NotOffered, match=r"is not part of slideloom: (use|extract|draw) "):
        exec(line, {})


def test_every_module_that_is_refused_can_be_asked_for_by_import() -> None:
    modules = {row.theirs for row in REFUSED if row.theirs.islower() and row.theirs.isalpha()} - {"backend"}

    for name in modules:
        with pytest.raises(ImportError, match=f"slideflow.{name} is not part of slideloom"):
            import_module(f"slideloom_slideflow.{name}")


def test_every_public_function_is_in_the_table() -> None:
    found = {
        f"{peer}.{name}"
        for peer, kind in CLASSES.items()
        for name, member in inspect.getmembers_static(kind)
        if not name.startswith("_") and inspect.isfunction(member)
    }

    assert found - OUR_CALLS - set(rows()) == set()


def test_every_difference_and_every_refusal_has_its_words() -> None:
    for row in rows().values():
        wordless = [name for name, (fate, words) in row.arguments.items() if fate != "same" and not words]
        assert wordless == [], row.theirs
        assert row.status == "works" or row.note or row.named("differs"), row.theirs


def test_what_is_named_as_ours_is_there() -> None:
    steps = [row.ours.split("`")[1] for row in rows().values() if row.ours.startswith("qc ")]
    names = [row.ours.partition("(")[0] for row in rows().values() if row.ours and " " not in row.ours]

    assert {step for step in steps if not slideloom.registry().find("qc", step)} == set()
    for name in names:
        first, *rest = name.split(".")
        if "=" in name:
            assert name.partition("=")[0] in ExtractOptions.__annotations__
            continue
        is_package = first.startswith("slideloom_")
        found: Any = import_module(first) if is_package else getattr(slideloom, first)
        if rest and first == "StainNormalizer":
            found = found()  # what its plugin's own front has is there of an object
        for part in rest:
            found = getattr(found, part)


def test_an_unknown_argument_is_named_with_a_near_one() -> None:
    with pytest.raises(TypeError, match=r"no argument 'verbos' \(did you mean 'verbose'\?\)"):
        sf.slide.qc.GaussianV2(verbos=True)


def test_an_argument_without_effect_is_told_and_a_refused_one_says_what_to_use() -> None:
    with pytest.warns(sf.DropInWarning, match=r"slide.qc.GaussianV2: overlap has no effect: blocks overlap as much"):
        sf.slide.qc.GaussianV2(overlap=6)
    with pytest.raises(sf.NotOffered, match=r"slide.qc.Otsu: slide_level=2 is not offered: slideloom looks at"):
        sf.slide.qc.Otsu(2)


def test_a_default_that_is_written_out_is_neither_told_nor_refused() -> None:
    sf.slide.qc.GaussianV2(mpp=None, sigma=3, threshold=0.02, overlap=None, tile_px=512)
    sf.slide.qc.Otsu(slide_level=None)


def test_scripts_say_how_much_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    before = slideloom_log.level
    sf.setLoggingLevel(40)
    assert sf.getLoggingLevel() == slideloom_log.getEffectiveLevel() == 40
    slideloom_log.setLevel(before)
    sf.about()
    assert capsys.readouterr().out == f"slideloom {slideloom.__version__}, by the names of Slideflow 3.0.2\n"


def test_slideflow_itself_is_not_imported_nor_a_framework() -> None:
    program = (
        "import sys; import slideloom_slideflow as sf; sf.Project, sf.Dataset, sf.WSI, sf.norm, sf.TFRecord, sf.slide;"
        "print(*(name in sys.modules for name in ('slideflow', 'torch', 'tensorflow')))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "False", "False"]
