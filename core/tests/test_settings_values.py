"""Options built in Python are converted and checked as those of a pipeline file, and give the same digest."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import attrs
import numpy as np
import pytest
from slideloom import ConfigError, Settings, at_least, in_range, option, positive
from slideloom.base.errors import OptionError, PluginError
from slideloom.pipeline.pipeline import QcUse, RoiUse, RunOptions, Slides
from slideloom.pipeline.tiling import Tiling
from slideloom.settings.digest import digest_of
from slideloom.settings.options import options_of
from slideloom.settings.tables import from_table


class Dyed(Protocol):
    """No value can be tested for it."""

    def dye(self) -> None: ...


@attrs.frozen
class Everything(Settings[Any]):
    """One option of each kind."""

    name: ClassVar[str] = "everything"
    folder: Path = option(Path("here"), help="a folder")
    share: float = option(0.5, help="a share", validator=in_range(0, 1))
    count: int = option(1, help="a count", validator=at_least(1))
    width: float | None = option(None, help="a width", validator=positive)
    words: tuple[str, ...] = option((), help="words")
    pair: tuple[float, float] = option((0.0, 1.0), help="two numbers")
    side: Literal["above", "below"] = option("above", help="a side")
    weights: Literal["own"] | Path = option("own", help="weights")
    size: float | str = option("10x", help="a size")
    is_on: bool = option(False, help="a switch")
    text: str = option("", help="text")
    limit: float = option(math.inf, help="no limit by default", finite=False)


@attrs.frozen
class Bare(Settings[Any]):
    """A third party's class, made of attrs' own fields."""

    name: ClassVar[str] = "bare"
    folder: Path = attrs.field(default=Path("x"), kw_only=True)
    level: float = 3


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("folder", "there", Path("there")),
        ("weights", "own.pt", Path("own.pt")),
        ("weights", "own", "own"),
        ("share", 1, 1.0),
        ("share", Fraction(1, 4), 0.25),
        ("share", np.float32(0.5), 0.5),
        ("count", np.int64(3), 3),
        ("is_on", np.True_, True),
        ("words", ["a", "b"], ("a", "b")),
        ("pair", [1, 2], (1.0, 2.0)),
        ("size", 256, 256.0),
        ("size", "20x", "20x"),
        ("limit", math.inf, math.inf),
        ("width", None, None),
    ],
)
def test_a_value_becomes_the_type_of_its_option(name: str, given: Any, kept: Any) -> None:
    found = getattr(Everything(**{name: given}), name)

    assert found == kept
    assert type(found) is type(kept)


def test_a_path_that_begins_with_a_tilde_starts_at_home_or_is_a_files_name() -> None:
    assert Everything(folder="~/rois").folder == Path.home() / "rois"
    assert Everything(folder="~no-such-user.csv").folder == Path("~no-such-user.csv")


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("folder", 3, "folder must be a path, not 3"),
        ("share", "half", "share must be a number, not 'half'"),
        ("share", True, "share must be a number, not True"),
        ("share", math.nan, "share must be a finite number, not nan"),
        ("share", 10**400, "share must be a finite number, not 1000"),
        ("share", 2, "share must be from 0 to 1, not 2"),
        ("count", 1.0, "count must be a whole number, not 1.0"),
        ("count", True, "count must be a whole number, not True"),
        ("count", 0, "count must be at least 1, not 0"),
        ("width", -math.inf, "width must be a finite number, not -inf"),
        ("width", 0, "width must be above 0, not 0"),
        ("words", "pen", "words must be a list of text, not 'pen'"),
        ("words", ["pen", 3], r"words must be a list of text, not \['pen', 3\]"),
        ("pair", [1, 2, 3], r"pair must be a list of 2 values, not \[1, 2, 3\]"),
        ("pair", [1, math.nan], "pair must be a finite number"),
        ("side", "abvoe", "side must be one of 'above', 'below', not 'abvoe'"),
        ("weights", 3, "weights must be one of 'own' or a path, not 3"),
        ("size", math.inf, "size must be a finite number, not inf"),
        ("size", None, "size must be a number or text, not None"),
        ("is_on", 1, "is_on must be true or false, not 1"),
        ("text", Path("x"), "text must be text, not "),
    ],
)
def test_a_wrong_value_is_refused_in_python_as_in_a_file(name: str, given: Any, said: str) -> None:
    with pytest.raises(OptionError, match=f"^{said}"):
        Everything(**{name: given})
    with pytest.raises(ValueError, match=f"^{said}"):
        attrs.evolve(Everything(), **{name: given})
    _, mistakes = from_table(Everything, {name: given}, where="")
    assert len(mistakes) == 1
    with pytest.raises(ConfigError, match=f"^{said}"):
        raise ConfigError(mistakes[0])


@pytest.mark.parametrize("validator", [in_range(-1e9, 1e9), at_least(-1e9), positive])
def test_no_range_holds_nan(validator: Any) -> None:
    @attrs.frozen
    class Loose(Settings[Any]):
        value: float = option(1.0, help="a number", validator=validator, finite=False)

    with pytest.raises(OptionError, match=r"value must be .*, not nan"):
        Loose(value=math.nan)


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: Tiling(size_px=299, size_um=math.inf), "size_um must be a finite number"),
        (lambda: Tiling(size_px=299, size_um=302, stride_div=math.inf), "stride_div must be a finite number"),
        (lambda: Tiling(size_px="299", size_um=302), "size_px must be a whole number, not '299'"),
        (lambda: Tiling(size_px=299, magnification="0x"), "magnification must be .* such as \"10x\", not '0x'"),
        (lambda: Slides(mpp=math.nan), "mpp must be a finite number"),
        (lambda: QcUse(step=Everything(), filter_threshold=math.nan), "filter_threshold must be a finite number"),
        (lambda: QcUse(step="otsu"), "step must be an instance of Settings, not 'otsu'"),
        (lambda: RoiUse(source=Everything(), method="insde"), "method must be one of 'auto', 'inside'"),
        (lambda: RunOptions(jobs=0), "jobs must be at least 1, not 0"),
    ],
)
def test_the_cores_own_settings_are_checked(build: Callable[[], Any], said: str) -> None:
    with pytest.raises(OptionError, match=f"^{said}"):
        build()


def test_a_refusal_knows_its_option_and_survives_pickling() -> None:
    with pytest.raises(OptionError) as caught:
        Everything(side="up")

    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.option, again.problem) == ("side", "must be one of 'above', 'below', not 'up'")
    assert again.args == (str(caught.value),)


def test_a_converter_sees_the_value_first_and_a_validator_the_converted_one() -> None:
    seen = []

    @attrs.frozen
    class Own(Settings[Any]):
        labels: tuple[str, ...] = option(
            (),
            help="labels",
            converter=lambda value: value.split("+") if isinstance(value, str) else value,
            validator=lambda _self, _attribute, value: seen.append(value),
        )

    assert Own(labels="a+b").labels == ("a", "b")
    assert seen == [("a", "b")]


@pytest.mark.parametrize(
    ("converter", "validator", "said"),
    [
        (int, None, "value cannot be 'x': invalid literal"),
        (None, attrs.validators.in_(("a", "b")), r"value must be in \('a', 'b'\)"),
        (None, [attrs.validators.in_(("a", "b"))], r"value must be in \('a', 'b'\)"),
        (None, attrs.validators.instance_of(bytes), "value must be <class 'bytes'>"),
    ],
)
def test_what_an_authors_converter_or_validator_says_is_told_by_the_options_name(
    converter: Any, validator: Any, said: str
) -> None:
    @attrs.frozen
    class Own(Settings[Any]):
        value: Any = option(help="a value", converter=converter, validator=validator)

    with pytest.raises(OptionError, match=f"^{said}"):
        Own(value="x")


def test_an_authors_default_is_not_judged_and_unknown_types_are_trusted() -> None:
    @attrs.frozen
    class Lax(Settings[Any]):
        folder: Path = option(None, help="None until it is known")
        dyed: Dyed = option(help="a protocol that no value can be tested for")

    assert Lax(dyed="blue") == Lax(folder=None, dyed="blue")
    with pytest.raises(OptionError):
        Lax(folder=3, dyed="blue")


def test_a_third_partys_plain_fields_stay_as_they_are() -> None:
    made = Bare(folder="text", level="high")

    assert (made.folder, made.level) == ("text", "high")
    assert list(options_of(Bare)) == ["folder", "level"]
    assert from_table(Bare, {"folder": "y", "level": 2}, where="here") == (Bare(folder=Path("y"), level=2.0), [])


def test_an_annotation_that_cannot_be_looked_up_is_told_with_the_remedy() -> None:
    made = type("Lost", (Settings,), {"__annotations__": {"x": "NoSuchName"}, "x": option(1, help="x")})

    settings = attrs.frozen(made)(x="anything")  # whoever makes a class in a notebook's cell can use it by hand
    with pytest.raises(PluginError, match=r"Lost: .*'NoSuchName' is not defined.*at the top of the module"):
        digest_of(settings)


def test_a_digest_is_the_same_however_the_value_was_written() -> None:
    python = Everything(folder="f", share=1, words=["a"], pair=[1, 2], size=256, weights="w.pt", count=np.int64(2))
    table = {"folder": "f", "share": 1.0, "words": ["a"], "pair": [1, 2], "size": 256, "weights": "w.pt", "count": 2}
    file, _ = from_table(Everything, table, where="file")

    assert file == python
    assert digest_of(file) == digest_of(python)
