"""Several processes that train together: no tile twice, as many batches on each, and the same model on all."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import slideloom as sl
from slideloom_loaders.ranks import Share, share_of

torch = pytest.importorskip("torch")

Place = tuple[str, int, int]
GLOO, LIGHTNING = (Path(__file__).with_name(f"{name}_script.py") for name in ("gloo", "lightning"))


def batches(loader: Iterable[Any]) -> list[list[Place]]:
    """The places of the tiles of each batch of one pass."""
    found = []
    for batch in loader:
        info = batch[-1]
        places = zip(info["slide"], map(int, info["loc_x"]), map(int, info["loc_y"]), strict=True)
        found.append([(slide, x, y) for slide, x, y in places])
    return found


def flat(pass_of_batches: list[list[Place]]) -> list[Place]:
    return [place for batch in pass_of_batches for place in batch]


@pytest.mark.parametrize("iterable", [False, True])
@pytest.mark.parametrize(("world_size", "num_workers"), [(2, 0), (3, 0), (7, 0), (2, 2)])
def test_no_tile_is_given_twice_and_each_rank_has_as_many_batches(
    dataset: sl.Dataset, iterable: bool, world_size: int, num_workers: int
) -> None:
    loaders = [
        dataset.torch(
            8, info=True, seed=2, iterable=iterable, num_workers=num_workers, rank=rank, world_size=world_size
        )
        for rank in range(world_size)
    ]
    tiles = dataset.summary().tiles

    for _ in range(2):
        passes = [batches(loader) for loader in loaders]
        given = [place for one in passes for place in flat(one)]
        assert len(set(given)) == len(given) == tiles // world_size * world_size
        assert {len(one) for one in passes} == {len(loader) for loader in loaders}
        assert len({len(flat(one)) for one in passes}) == 1


def test_ranks_share_what_one_process_would_go_through(dataset: sl.Dataset) -> None:
    whole = flat(batches(dataset.torch(8, info=True, seed=2)))
    shares = [flat(batches(dataset.torch(8, info=True, seed=2, rank=rank, world_size=2))) for rank in range(2)]

    assert [place for pair in zip(*shares, strict=True) for place in pair] == whole[: len(whole) // 2 * 2]


def test_balanced_ranks_draw_alike_and_not_the_same(dataset: sl.Dataset) -> None:
    shares = [flat(batches(dataset.torch(8, info=True, balance="slide", rank=rank, world_size=2))) for rank in range(2)]

    assert shares[0] != shares[1]
    for share in shares:
        counts = [sum(place[0] == slide for place in share) for slide in ("one", "two", "three")]
        assert all(abs(count - len(share) / 3) < 5 * (len(share) * 2 / 9) ** 0.5 for count in counts)


@pytest.mark.parametrize(
    ("count", "world_size", "shares"), [(7, 2, [[0, 2, 4], [1, 3, 5]]), (6, 3, [[0, 3], [1, 4], [2, 5]]), (1, 1, [[0]])]
)
def test_shares_are_equal_and_disjoint(count: int, world_size: int, shares: list[list[int]]) -> None:
    assert [list(Share(rank, world_size).of(range(count))) for rank in range(world_size)] == shares


def test_the_environment_of_a_launcher_says_the_rank(monkeypatch: pytest.MonkeyPatch, dataset: sl.Dataset) -> None:
    loader = dataset.torch(8, info=True)
    monkeypatch.setenv("RANK", "1")
    assert share_of(None, None) == Share()
    monkeypatch.setenv("WORLD_SIZE", "2")

    assert share_of(None, None) == Share(1, 2)
    assert share_of(0, 1) == Share()
    assert flat(batches(loader)) == flat(batches(dataset.torch(8, info=True, rank=1, world_size=2)))
    monkeypatch.setenv("RANK", "first")
    with pytest.raises(sl.ConfigError, match="RANK=first and WORLD_SIZE=2 are no ranks"):
        dataset.torch(8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 2, "world_size": 2}, "rank must be from 0 to world_size - 1, not 2 of 2"),
        ({"rank": -1, "world_size": 2}, "not -1 of 2"),
        ({"rank": 1}, "rank and world_size go together"),
        ({"rank": 0, "world_size": 10_000}, r"\d+ tiles cannot be shared by 10000 processes"),
        ({"batch_size": 500, "drop_last": True}, r"no batch: drop_last leaves none of \d+ tiles with batch_size=500"),
    ],
)
def test_a_rank_without_a_batch_is_an_error(dataset: sl.Dataset, options: dict[str, Any], message: str) -> None:
    with pytest.raises(sl.ConfigError, match=message):
        dataset.torch(**options)


def test_tiles_that_validation_leaves_out_are_told(dataset: sl.Dataset, caplog: pytest.LogCaptureFixture) -> None:
    tiles = dataset.summary().tiles
    with caplog.at_level(logging.WARNING):
        batches(dataset.torch(8, info=True, shuffle=False, rank=0, world_size=tiles - 1))

    assert f"the last 1 of {tiles} tiles are left out, so that each of {tiles - 1} processes" in caplog.text


def test_a_sampler_of_torch_over_the_dataset_augments_anew_in_each_epoch(dataset: sl.Dataset) -> None:
    from torch.utils.data import DataLoader, DistributedSampler

    tiles = dataset.torch(8, info=True, augment="flip, rotate", seed=3).dataset
    sampler = DistributedSampler(tiles, num_replicas=2, rank=0, shuffle=False)
    loader = DataLoader(tiles, 8, sampler=sampler, num_workers=1, persistent_workers=True)

    def images(epoch: int) -> Any:
        sampler.set_epoch(epoch)
        tiles.set_epoch(epoch)
        return torch.cat([batch[0] for batch in loader])

    first, second, again = images(0), images(1), images(0)

    alike = (first == second).flatten(1).all(dim=1).float().mean()
    assert alike < 0.25  # of eight ways to lie, and some tiles are of one colour
    assert torch.equal(first, again)


def test_two_processes_train_one_classifier_on_tiles_that_only_one_of_them_sees(
    project: sl.Project, dataset: sl.Dataset, tmp_path: Path
) -> None:
    words = [[sys.executable, GLOO, project.root, tmp_path, str(rank)] for rank in range(2)]
    processes = [subprocess.Popen(list(map(str, line)), stderr=subprocess.PIPE, text=True) for line in words]
    errors = [process.communicate()[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors

    told = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    tiles = dataset.summary().tiles
    for name in ("map", "iterable", "workers"):
        for one, other in zip(told[0]["seen"][name], told[1]["seen"][name], strict=True):
            mine, others = ([tuple(place) for place in flat(share)] for share in (one, other))
            assert len(one) == len(other)
            assert not set(mine) & set(others)
            assert len(set(mine) | set(others)) == tiles // 2 * 2
        assert told[0]["seen"][name][0] != told[0]["seen"][name][1]
    assert told[0]["weights"] == told[1]["weights"]
    right, total = told[0]["right"]
    assert total > 50
    assert right / total > 0.8  # always naming the larger class would give 0.57


def test_under_lightnings_ddp_ranks_share_epochs_augmentation_moves_on_and_training_goes_on(
    project: sl.Project, dataset: sl.Dataset, tmp_path: Path
) -> None:
    pytest.importorskip("lightning")
    words = [str(word) for word in (sys.executable, LIGHTNING, project.root, tmp_path)]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    tiles = dataset.summary().tiles
    for kind in ("map", "iterable"):
        told = [json.loads((tmp_path / f"{kind}-{rank}.json").read_text()) for rank in range(2)]
        # Three epochs: two, and one more by another trainer that goes on from the checkpoint of the first.
        assert [len(epochs) for epochs in told] == [3, 3]
        for one, other in zip(*told, strict=True):
            assert len(set(one)) == len(one) == len(other) == tiles // 2
            assert not set(one) & set(other)
        for rank in range(2):
            expected = dataset.torch(8, info=True, seed=4, iterable=kind == "iterable", rank=rank, world_size=2)
            assert told[rank] == [["/".join(map(str, place)) for place in flat(batches(expected))] for _ in range(3)]
