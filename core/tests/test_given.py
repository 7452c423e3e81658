"""Objects as values of options: what they are counts by class and state, and what cannot be told is refused."""

from __future__ import annotations

import pickle
import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from slideloom import ConfigError
from slideloom.settings.frozen_tables import FrozenTable
from slideloom.settings.given import Given


class Holder:
    def __init__(self, held: Any) -> None:
        self.held = held


class Slotted:
    __slots__ = ("held",)

    def __init__(self, held: Any) -> None:
        self.held = held


@attrs.frozen
class Frozen:
    held: Any


def circle(value: int) -> Holder:
    made = Holder([value])
    made.held.append(made)
    return made


@pytest.mark.parametrize("cls", [Holder, Slotted, Frozen])
@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        (1, 1, 2),
        (1, 1, 1.0),
        (None, None, False),
        ("a", "a", "b"),
        (b"a", b"a", b"b"),
        ([1, (2, 3)], [1, (2, 3)], [1, (3, 2)]),
        ({"a": 1}, {"a": 1}, {"a": 2}),
        ({"x", "y", "z"}, {"z", "y", "x"}, {"x", "y"}),
        (np.arange(6).reshape(2, 3), np.arange(6).reshape(2, 3), np.arange(6).reshape(3, 2)),
        (np.float32(0.5), np.float32(0.5), np.float64(0.5)),
        (Path("a"), Path("a"), Path("b")),
        (OrderedDict(a=1, b=2), OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
        (Holder(np.ones(2)), Holder(np.ones(2)), Holder(np.zeros(2))),
        (circle(1), circle(1), circle(2)),
        (len, len, max),
        (np.random.default_rng(1), np.random.default_rng(1), np.random.default_rng(2)),
    ],
)
def test_equal_states_have_one_digest_and_other_states_another(cls: Any, one: Any, same: Any, other: Any) -> None:
    digest = Given.of(cls(one)).digest

    assert Given.of(cls(same)).digest == digest
    assert Given.of(cls(other)).digest != digest


def test_classes_of_the_same_state_differ() -> None:
    assert Given.of(Holder(1)).digest != Given.of(Slotted(1)).digest


def test_the_digest_is_that_of_the_state_when_it_was_given() -> None:
    step = Holder(1)
    given = Given.of(step)
    digest = given.digest

    step.held = 2  # as steps do that count what they have seen

    assert given.digest == digest
    assert pickle.loads(pickle.dumps(given)).digest == digest


@pytest.mark.parametrize(
    ("held", "said"),
    [
        (threading.Lock(), "lock"),
        (lambda: None, "is defined within a function"),
        ((item for item in "ab"), "generator"),
    ],
    ids=["a lock", "a lambda", "a generator"],
)
def test_what_no_other_process_can_make_is_refused(held: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Given.of(Holder(held))


def test_a_frozen_table_has_a_hash_and_travels() -> None:
    table = FrozenTable({"values": [[1.0, 2.0]], "more": {"a": 1}})

    assert table == {"values": ((1.0, 2.0),), "more": {"a": 1}}
    assert hash(table) == hash(FrozenTable({"more": {"a": 1}, "values": [[1.0, 2.0]]}))
    assert pickle.loads(pickle.dumps(table)) == table
    with pytest.raises(TypeError):
        table["values"] = 1  # type: ignore[index]
