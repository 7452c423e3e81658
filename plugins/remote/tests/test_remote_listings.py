"""Lists of folders at an address are asked for once, and again when they are old."""

from __future__ import annotations

from slideloom_remote.listings import FRESH_S, Listings
from slideloom_remote.stores import Stored


def test_a_folder_is_listed_once_until_its_list_is_old() -> None:
    asked: list[str] = []
    clock = [0.0]
    there = {"x/a": Stored(1, "first")}

    def listed(folder: str) -> dict[str, Stored]:
        asked.append(folder)
        return dict(there)

    listings = Listings(listed, now=lambda: clock[0])
    assert listings.stored("x/a") == Stored(1, "first")
    assert listings.stored("x/b") is None
    there["x/b"] = Stored(2, "second")
    clock[0] = FRESH_S
    assert listings.stored("x/b") is None
    clock[0] = FRESH_S + 1
    assert listings.stored("x/b") == Stored(2, "second")

    assert listings.stored("c") is None
    assert asked == ["x", "x", ""]
