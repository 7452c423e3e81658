"""The account of tiles: what is counted, by whom, and whose a tile is."""

from __future__ import annotations

import numpy as np
import pytest
from slideloom.base.geometry import Size
from slideloom.planning.ledger import Ledger, numbered
from slideloom.slides.tiles import Tiles


@pytest.fixture
def ledger() -> Ledger:
    """Five tiles in a row."""
    n = np.arange(5)
    return Ledger(Tiles(n, n * 10, n * 0, n, n * 0, n * 0 - 1, footprint=Size(10, 10)))


def test_a_new_ledger_has_decided_nothing(ledger: Ledger) -> None:
    assert len(ledger) == 5
    assert ledger.candidates().tolist() == [0, 1, 2, 3, 4]
    assert (ledger.written, ledger.unreadable, ledger.rejected) == (0, 0, {})
    assert ledger.status() == ["candidate"] * 5


def test_every_tile_is_counted_once_under_what_became_of_it(ledger: Ledger) -> None:
    ledger.reject(np.array([0, 3]), "roi")
    ledger.mark_unreadable(np.array([1]))
    ledger.mark_written(np.array([2, 4]))

    assert ledger.status() == ["roi", "unreadable", "written", "roi", "written"]
    assert (ledger.written, ledger.unreadable, ledger.rejected) == (2, 1, {"roi": 2})
    assert ledger.candidates().tolist() == []


def test_the_first_step_that_rejects_a_tile_is_the_one_that_is_named(ledger: Ledger) -> None:
    ledger.reject(np.array([True, True, False, False, False]), "qc:otsu")
    ledger.reject(np.array([False, True, True, False, False]), "qc:pen")

    assert ledger.rejected == {"qc:otsu": 2, "qc:pen": 1}
    assert ledger.status()[:3] == ["qc:otsu", "qc:otsu", "qc:pen"]


def test_a_step_that_rejects_none_is_not_counted(ledger: Ledger) -> None:
    ledger.reject(np.zeros(5, bool), "qc:otsu")

    assert ledger.rejected == {}


def test_scores_are_kept_by_step_with_nothing_where_it_did_not_look(ledger: Ledger) -> None:
    ledger.score("filter:gray", np.array([1, 4]), np.array([0.25, 0.5]))
    ledger.score("filter:gray", np.array([0]), np.array([1.0]))
    ledger.score("filter:gray-2", np.array([1]), np.array([0.75]))

    assert np.array_equal(ledger.scores["filter:gray"], [1, 0.25, np.nan, np.nan, 0.5], equal_nan=True)
    assert np.array_equal(ledger.scores["filter:gray-2"], [np.nan, 0.75, np.nan, np.nan, np.nan], equal_nan=True)


def test_a_tile_belongs_to_the_first_region_that_takes_it(ledger: Ledger) -> None:
    ledger.own(np.array([-1, 0, 0, -1, -1]))
    ledger.own(np.array([-1, 1, -1, 1, -1]))

    assert ledger.owner.tolist() == [-1, 0, 0, 1, -1]
    assert ledger.tiles.roi.tolist() == [-1, 0, 0, 1, -1]


def test_owners_are_the_ledgers_and_the_places_stay_as_they_were_planned() -> None:
    n = np.arange(2)
    places = Tiles(n, n, n, n, n, n * 0 - 1, footprint=Size(1, 1))
    ledger = Ledger(places)
    ledger.own(np.array([0, 1]))
    ledger.owner[:] = 7

    assert places.roi.tolist() == [-1, -1]
    assert ledger.owner.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([], []),
        (["gray", "white"], ["gray", "white"]),
        (["gray", "gray", "white", "gray"], ["gray", "gray-2", "white", "gray-3"]),
        (["gray", "gray-2", "gray"], ["gray", "gray-2", "gray-3"]),
    ],
)
def test_labels_are_numbered_from_the_second_use_on(labels: list[str], expected: list[str]) -> None:
    assert numbered(labels) == expected
