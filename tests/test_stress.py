"""The campaigns of `nox -s stress`, a few cases of each: they run, they count, and they see what is wrong."""

from __future__ import annotations

import struct
from functools import partial
from pathlib import Path
from typing import Literal

import attrs
import numpy as np
import pytest
from slideloom import Rgb, Size

from stress import crew, shards, shown, slides, witnesses
from stress.__main__ import main
from stress.campaigns import CAMPAIGNS
from stress.isyntax import by_bits
from stress.mutations import damaged, damaged_text
from stress.reading import (
    CZI_FORMS,
    DICOM_FORMS,
    ISYNTAX_FORMS,
    READERS,
    write_czi,
    write_dicom_form,
    write_isyntax_form,
    write_zarr,
)
from stress.verdicts import Campaign, Kind, Tally, Verdict

# Cases of each campaign; a seed whose cases are all well today, so that tomorrow's fault shows.
FEW = {"slides": 16, "texts": 60, "kills": 2, "shards": 3, **{f"reader-{name}": 12 for name in READERS}}


@pytest.mark.slow
@pytest.mark.parametrize("name", FEW)
def test_a_few_cases_of_a_campaign_show_no_fault(name: str) -> None:
    campaign = CAMPAIGNS[name]
    if name == "shards":  # a run of 40 slides would take as long as all other cases together
        campaign = attrs.evolve(campaign, prepare=partial(shards.prepare, slides=12))

    tally = crew.run(campaign, seed=4, most=FEW[name])

    assert tally.faults == []
    assert tally.counts.total() in (0, FEW[name])  # 0 without a compiler for the library of faults, and on Windows


def tried(name: str, *cases: str) -> Tally:
    """These cases of a campaign, prepared once."""
    return crew.run(attrs.evolve(CAMPAIGNS[name], cases=lambda _folder, _seed: list(cases)), seed=0, most=None)


@pytest.mark.slow
def test_plugins_that_misbehave_are_refused_by_name() -> None:
    cases = ("filter/raises/1", "encode/one short/1", "qc/exits/1", "normalizer/is killed/2", "commit/crashes/2")

    tally = tried("misdeeds", *cases)

    assert tally.faults == []
    assert tally.counts == {Kind.REFUSED: len(cases)}


@pytest.mark.slow
def test_a_disk_that_fails_once_is_told_and_the_next_run_is_whole() -> None:
    tally = tried("disks", "ENOSPC/once/out/0.50000", "EACCES/once/out/0.02000")

    assert tally.faults == []


@pytest.mark.slow
def test_readers_that_take_different_levels_may_show_different_tiles() -> None:
    """Level 1 has 8 bits for two samples of three: openslide leaves it out, vips reads it."""
    tally = tried("slides", "big.tif/1.5610/openslide")

    assert tally.counts == {Kind.RIGHT: 1}


def test_the_same_name_gives_the_same_damage() -> None:
    text = "slide,x,y\na,1.5,2\nb,3,4\n"
    content = bytes(range(256)) * 8

    assert damaged_text(text, "1") == damaged_text(text, "1")
    assert damaged(content, "1") == damaged(content, "1")
    assert len({damaged_text(text, str(number)) for number in range(50)}) > 30
    assert len({damaged(content, str(number)) for number in range(50)}) == 50


def test_a_case_that_ends_its_process_is_a_fault_and_the_next_is_judged() -> None:
    tally = crew.run(_SELF, seed=0, most=None)

    assert [case for case, _ in tally.faults] == ["dies", "raises"]
    assert tally.counts == {Kind.RIGHT: 2, Kind.OTHER: 2}


def test_a_fault_is_printed_and_makes_the_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(CAMPAIGNS, "texts", _SELF)

    assert main(["texts", "--out", str(tmp_path / "counts.json")]) == 1
    assert main(["texts", "--case", "fine"]) == 0

    told = capsys.readouterr().out
    assert "4 cases" in told
    assert "2 right, 0 refused with our error, 2 other exception, 0 wrong" in told
    assert "such as --case 'dies'" in told
    assert '"other exception": 2' in (tmp_path / "counts.json").read_text()


def picture() -> Rgb:
    """(150, 200, 3) uint8: twelve tiles of 64 pixels, each of other colours."""
    y, x = np.mgrid[:150, :200]
    return np.stack([x, y, (x + y) % 200], axis=-1).astype(np.uint8)


def seen(image: Rgb, *, but: tuple[int, int] | None = None) -> shown.Shown:
    """What a decoder shows that reads all of an image but for one tile."""
    known = np.ones(image.shape[:2], bool)
    if but is not None:
        known[but[1], but[0]] = False
    return shown.in_tiles(image, known)


def with_another_tile(image: Rgb) -> Rgb:
    other = image.copy()
    other[64:128, 64:128] += 10
    return other


class TestVerdicts:
    def test_what_another_decoder_shows_is_right(self) -> None:
        ours = seen(with_another_tile(picture()))

        verdict = shown.judge(ours, seen(picture()), iter([seen(with_another_tile(picture()))]))

        assert verdict == Verdict(Kind.RIGHT)

    def test_what_only_others_show_otherwise_is_wrong(self) -> None:
        ours = seen(with_another_tile(picture()))

        verdict = shown.judge(ours, seen(picture()), iter([seen(picture())]))

        assert verdict == Verdict(Kind.WRONG, "1 tiles, of level 0 that at (64, 64), differ from all others by 10")

    def test_one_of_two_decoders_is_enough(self) -> None:
        ours = seen(with_another_tile(picture()))

        verdict = shown.judge(ours, seen(picture()), iter([seen(picture()), ours]))

        assert verdict == Verdict(Kind.RIGHT)

    def test_tiles_that_nobody_else_shows_are_counted_if_they_have_changed(self) -> None:
        ours = seen(with_another_tile(picture()))
        witness = seen(picture(), but=(70, 70))

        assert shown.judge(ours, seen(picture()), iter([witness])) == Verdict(
            Kind.RIGHT, "1 of 12 tiles are shown by no other decoder"
        )
        assert shown.judge(seen(picture()), seen(picture()), iter([witness])) == Verdict(Kind.RIGHT)

    def test_a_slide_without_a_readable_tile_is_refused(self) -> None:
        nothing = shown.Shown((Size(200, 150),), ({},), 12)

        assert shown.judge(nothing, seen(picture()), iter([])).kind is Kind.REFUSED


@pytest.mark.parametrize("name", DICOM_FORMS)
def test_pydicom_shows_what_was_written(tmp_path: Path, name: str) -> None:
    path = write_dicom_form(tmp_path, picture(), name)

    assert_shows(witnesses.by_pydicom(path), seen(picture()))


@pytest.mark.parametrize("kind", [2, 3])
def test_numcodecs_shows_what_was_written_but_for_lost_chunks(tmp_path: Path, kind: Literal[2, 3]) -> None:
    path = write_zarr(tmp_path / "a.ome.zarr", picture(), kind=kind)
    assert_shows(witnesses.by_numcodecs(path), seen(picture()))

    (path / ("0/0.0.1" if kind == 2 else "0/c/0/0/1")).unlink()  # 72 columns from x = 128 on, of 128 rows
    found = witnesses.by_numcodecs(path)
    assert found is not None
    assert found.unreadable == 4


@pytest.mark.parametrize("name", CZI_FORMS)
def test_subblocks_of_czi_show_what_was_written(tmp_path: Path, name: str) -> None:
    path = write_czi(tmp_path / "a.czi", picture(), name)

    assert_shows(witnesses.by_subblocks(path), seen(picture()))


@pytest.mark.parametrize("name", ISYNTAX_FORMS)
def test_bits_of_isyntax_show_what_was_written_but_for_a_damaged_block(tmp_path: Path, name: str) -> None:
    path = write_isyntax_form(tmp_path / "a.isyntax", picture(), name)
    assert_shows(by_bits(path), seen(picture()))

    content = bytearray(path.read_bytes())
    (at,) = struct.unpack_from("<Q", content, content.index(b"\x04") + 1 + 8 + 16)  # the first tile of level 0
    content[at] ^= 1
    path.write_bytes(content)
    found = by_bits(path)
    assert found is not None
    assert found.unreadable == 12


def test_a_witness_says_nothing_of_another_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(1000))

    for witness in (witnesses.by_pydicom, witnesses.by_numcodecs, witnesses.by_subblocks, by_bits):
        assert witness(path) is None


def assert_shows(found: shown.Shown | None, expected: shown.Shown) -> None:
    assert found is not None
    assert found.sizes == expected.sizes
    assert found.unreadable == 0
    for place, tile in expected.tiles[0].items():
        assert np.array_equal(found.tiles[0][place], tile)


def test_a_folder_is_damaged_in_one_of_its_files(tmp_path: Path) -> None:
    path = write_zarr(tmp_path / "a.ome.zarr", picture(), kind=3)
    slides.damaged_copy(path, tmp_path / "b.ome.zarr", "1")

    before, after = (
        {file.relative_to(top): file.read_bytes() for file in top.rglob("*") if file.is_file()}
        for top in (path, tmp_path / "b.ome.zarr")
    )
    assert sum(before[name] != after.get(name) for name in before) == 1


def _judge(_folder: Path, case: str) -> Verdict:
    import os

    if case == "dies":
        os._exit(3)
    if case == "raises":
        raise ValueError("of the harness")
    return Verdict(Kind.RIGHT)


_SELF = Campaign(
    name="self",
    help="the harness itself",
    prepare=lambda _folder: None,
    cases=lambda _folder, _seed: ["fine", "dies", "raises", "fine too"],
    judge=_judge,
)
