"""Drafts: published whole, in place of what was there when they began and of nothing else."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest
from slideloom import Draft, OutputError, check_size

both = pytest.mark.parametrize("is_folder", [False, True], ids=["file", "folder"])


def fill(path: Path, word: str, *, is_folder: bool) -> None:
    if is_folder:
        path.mkdir()
        (path / word).touch()
    else:
        path.write_text(word)


def word_of(path: Path) -> str:
    return next(path.iterdir()).name if path.is_dir() else path.read_text()


@both
def test_a_draft_gets_its_name_when_it_is_published(tmp_path: Path, is_folder: bool) -> None:
    draft = Draft(tmp_path / "deep" / "a")
    fill(draft.partial, "new", is_folder=is_folder)
    assert not draft.path.exists()

    assert draft.publish() == tmp_path / "deep" / "a"

    assert word_of(draft.path) == "new"
    draft.discard()
    assert list(draft.path.parent.iterdir()) == [draft.path]


@both
def test_a_draft_replaces_what_an_earlier_run_left(tmp_path: Path, is_folder: bool) -> None:
    fill(tmp_path / "a", "old", is_folder=is_folder)
    draft = Draft(tmp_path / "a")
    fill(draft.partial, "new", is_folder=is_folder)

    draft.publish()

    assert word_of(tmp_path / "a") == "new"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@both
@pytest.mark.parametrize("earlier", [False, True], ids=["new", "again"])
def test_who_publishes_second_fails_and_leaves_the_first_alone(tmp_path: Path, is_folder: bool, earlier: bool) -> None:
    if earlier:
        fill(tmp_path / "a", "old", is_folder=is_folder)
    first, second = Draft(tmp_path / "a"), Draft(tmp_path / "a")
    fill(first.partial, "first of two", is_folder=is_folder)
    fill(second.partial, "second", is_folder=is_folder)
    first.publish()

    with pytest.raises(OutputError, match=r"a: another run has written it meanwhile.*one run at a time"):
        second.publish()
    with pytest.raises(OutputError, match="another run has written it meanwhile"):
        second.withdraw()
    second.discard()

    assert word_of(tmp_path / "a") == "first of two"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.skipif(sys.platform == "win32", reason="there, renaming does not replace")
def test_the_system_itself_refuses_who_comes_between_the_look_and_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draft = Draft(tmp_path / "a")
    draft.partial.write_text("late")
    link = os.link

    def outrun(source: Path, target: Path, **options: bool) -> None:
        Path(target).write_text("in time")
        link(source, target, **options)

    monkeypatch.setattr(os, "link", outrun)

    with pytest.raises(OutputError, match="another run has written it meanwhile"):
        draft.publish()

    assert (tmp_path / "a").read_text() == "in time"


@pytest.mark.skipif(sys.platform == "win32", reason="there, renaming does not replace")
def test_a_link_whose_answer_was_lost_is_a_success(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draft = Draft(tmp_path / "a")
    draft.partial.write_text("new")
    link = os.link

    def repeated(source: Path, target: Path, **options: bool) -> None:
        link(source, target, **options)
        link(source, target, **options)

    monkeypatch.setattr(os, "link", repeated)

    draft.publish()

    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS], ids=os.strerror)
def test_a_file_system_without_links_is_renamed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def none_here(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "link", none_here)
    draft = Draft(tmp_path / "a")
    draft.partial.write_text("new")

    draft.publish()

    assert (tmp_path / "a").read_text() == "new"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


@both
def test_a_draft_that_is_withdrawn_takes_the_earlier_result_with_it(tmp_path: Path, is_folder: bool) -> None:
    fill(tmp_path / "a", "old", is_folder=is_folder)
    draft = Draft(tmp_path / "a")

    draft.withdraw()
    draft.withdraw()

    assert list(tmp_path.iterdir()) == []


@both
def test_a_draft_that_is_discarded_leaves_the_earlier_result(tmp_path: Path, is_folder: bool) -> None:
    fill(tmp_path / "a", "old", is_folder=is_folder)
    draft = Draft(tmp_path / "a")
    fill(draft.partial, "new", is_folder=is_folder)

    draft.discard()
    draft.discard()

    assert list(tmp_path.iterdir()) == [tmp_path / "a"]
    assert word_of(tmp_path / "a") == "old"


def test_an_earlier_result_comes_back_where_the_exchange_fails_halfway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "a", "old", is_folder=True)
    draft = Draft(tmp_path / "a")
    fill(draft.partial, "new", is_folder=True)
    rename = os.rename

    def broken(source: Path, target: Path) -> None:
        if Path(source) == draft.partial:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        rename(source, target)

    monkeypatch.setattr(os, "rename", broken)
    with pytest.raises(OSError, match="Input/output error"):
        draft.publish()
    draft.discard()

    assert word_of(tmp_path / "a") == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_file_that_does_not_hold_what_was_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(9))

    check_size(tmp_path / "a", 9)
    with pytest.raises(OutputError, match=r"a: holds 9 bytes where 10 were written; check the disk"):
        check_size(tmp_path / "a", 10)
