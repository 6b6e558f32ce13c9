"""The plan: every file in exactly one share, shares of like size, the same for every task."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from astra.errors import UsageError
from jobs.files import Files
from jobs.plan import (
    PART_BYTES,
    Shard,
    Unit,
    Units,
    deal,
    parse_shard,
    plan,
    shard_from_environment,
)

SIZES = st.lists(st.integers(0, 2**40) | st.just(0), max_size=60)
SHARDS = st.integers(1, 80)


def units_of(sizes: list[int]) -> Units:
    return plan(Files((0, f"{number}.fits.gz", size) for number, size in enumerate(sizes)))


def test_a_plan_numbers_the_files_in_their_order() -> None:
    files = [(0, Path("b"), 5), (0, Path("a"), 3), (2, Path("b"), 5)]
    assert list(plan(Files(files))) == [
        Unit(order=0, product=0, path=Path("b"), size=5),
        Unit(order=1, product=0, path=Path("a"), size=3),
        Unit(order=2, product=2, path=Path("b"), size=5),
    ]


class TestALargeFile:
    """It is taken in parts, if it is not gzipped."""

    @given(size=st.integers(1, 2**36), rows=st.integers(0, 2**40))
    def test_has_each_row_in_one_part(self, size: int, rows: int) -> None:
        units = plan(Files([(0, "a.fits", size)]))
        ends = [unit.rows(rows) for unit in units]
        assert ends[0].start == 0
        assert ends[-1].stop == rows
        assert all(one.stop == other.start for one, other in pairwise(ends))
        assert [unit.is_last for unit in units] == [False] * (len(units) - 1) + [True]

    @given(size=st.integers(1, 2**36))
    def test_is_shared_evenly(self, size: int) -> None:
        units = plan(Files([(0, "a.fits", size)]))
        sizes = [unit.size for unit in units]
        assert sum(sizes) == size
        assert max(sizes) - min(sizes) <= 1
        assert max(sizes) <= PART_BYTES
        assert len(units) == 1 or min(sizes) >= PART_BYTES // 2
        assert {len(share) for share in deal(units, len(units))} == {1}
        for tasks in (2, 4, 8):
            if tasks <= len(units):
                assert {len(share) for share in deal(units, tasks)} == {len(units) // tasks}

    def test_is_one_file_in_words_and_numbers(self) -> None:
        small, large = (0, Path("b.fits"), 5), (0, Path("a.fits"), 4 * PART_BYTES)
        units = plan(Files([small, large]))
        assert [unit.path.name for unit in units.one_of_each_file()] == ["b.fits", "a.fits"]
        assert str(units) == "5 parts of 2 files"
        assert str(units.pick([0])) == "1 file"
        assert units.bytes == 5 + 4 * PART_BYTES


class TestADeal:
    @given(sizes=SIZES, shards=SHARDS)
    def test_is_disjoint_complete_and_in_order(self, sizes: list[int], shards: int) -> None:
        units = units_of(sizes)
        dealt = deal(units, shards)
        assert len(dealt) == shards
        assert sorted((unit for share in dealt for unit in share), key=lambda u: u.order) == list(
            units
        )
        for share in dealt:
            assert [unit.order for unit in share] == sorted(unit.order for unit in share)

    @given(sizes=SIZES, shards=SHARDS, again=SHARDS)
    def test_of_a_share_is_disjoint_and_complete(
        self, sizes: list[int], shards: int, again: int
    ) -> None:
        for share in deal(units_of(sizes), shards):
            dealt = deal(share, again)
            assert sorted(unit.order for own in dealt for unit in own) == [u.order for u in share]
            assert sum(own.bytes for own in dealt) == share.bytes

    @given(sizes=SIZES, shards=SHARDS)
    def test_is_even(self, sizes: list[int], shards: int) -> None:
        loads = [sum(unit.size for unit in share) for share in deal(units_of(sizes), shards)]
        # A share grew past the least one by no more than the last unit that it took.
        assert max(loads) - min(loads) <= max(sizes, default=0)
        # Graham's bound, with the mean and the largest unit for the best there is.
        best = max(sum(sizes) / shards, max(sizes, default=0))
        assert max(loads) <= 2 * best

    @given(sizes=SIZES, shards=SHARDS)
    def test_leaves_no_task_idle_while_another_has_two(self, sizes: list[int], shards: int) -> None:
        counts = [len(share) for share in deal(units_of([size + 1 for size in sizes]), shards)]
        assert 0 not in counts or max(counts) <= 1

    def test_spreads_empty_files(self) -> None:
        assert [len(share) for share in deal(units_of([0] * 10), 4)] == [3, 3, 2, 2]

    def test_of_known_sizes(self) -> None:
        dealt = deal(units_of([7, 6, 5, 4, 3]), 2)
        assert [[unit.size for unit in share] for share in dealt] == [[7, 4, 3], [6, 5]]

    def test_to_one_is_everything(self) -> None:
        units = units_of([3, 1, 2])
        (share,) = deal(units, 1)
        assert list(share) == list(units)

    def test_to_more_tasks_than_units_leaves_some_empty(self) -> None:
        assert [len(share) for share in deal(units_of([1, 2]), 4)] == [1, 1, 0, 0]

    @pytest.mark.parametrize("shards", [0, -1])
    def test_to_nobody_is_refused(self, shards: int) -> None:
        with pytest.raises(UsageError, match=f"to {shards} shards: expected 1 or more"):
            deal(units_of([]), shards)

    def test_of_200000_to_1000_is_quick(self) -> None:
        units = units_of([(number * 7919) % 100_003 for number in range(200_000)])
        start = time.process_time()
        dealt = deal(units, 1000)
        assert time.process_time() - start < 2
        loads = [sum(unit.size for unit in share) for share in dealt]
        assert max(loads) / min(loads) < 1.001


class TestAShard:
    @pytest.mark.parametrize(
        ("text", "shard"),
        [
            ("0/1", Shard(0, 1)),
            ("3/4", Shard(3, 4)),
            (" 0/20 ", Shard(0, 20)),
            ("00/1", Shard(0, 1)),
        ],
    )
    def test_is_read(self, text: str, shard: Shard) -> None:
        assert parse_shard(text) == shard

    @given(count=st.integers(1, 10**9 - 1), data=st.data())
    def test_is_read_as_it_is_written(self, count: int, data: st.DataObject) -> None:
        shard = Shard(data.draw(st.integers(0, count - 1)), count)
        assert parse_shard(str(shard)) == shard

    @pytest.mark.parametrize(
        "text", ["", "1", "1/", "/2", "-1/2", "1/2/3", "a/b", "1.0/2", "1 / 2", "٣/4"]
    )
    def test_of_another_form_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError) as caught:
            parse_shard(text)
        assert str(caught.value) == (
            f"{text!r} is not a shard: write I/N, as in 0/4 for the first of four (I from 0)"
        )

    def test_of_none_is_refused(self) -> None:
        with pytest.raises(UsageError, match="'0/0' is not a shard: N is 0; write 0/1 for all"):
            parse_shard("0/0")

    @pytest.mark.parametrize("text", ["4/4", "9/4"])
    def test_past_the_last_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError, match=f"'{text}' is not a shard: .* the last is 3/4"):
            parse_shard(text)


def slurm(ids: list[int], task: int, step: int | None = 1) -> dict[str, str]:
    """Return what Slurm tells a task of an array of these ids."""
    environ = {"ID": task, "MIN": min(ids), "MAX": max(ids), "COUNT": len(ids)}
    if step is not None:
        environ["STEP"] = step
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in environ.items()}


class TestAnArray:
    @pytest.mark.parametrize("environ", [{}, {"SLURM_JOB_ID": "7"}, {"SLURM_ARRAY_TASK_ID": ""}])
    def test_that_is_none_has_all_of_the_work(self, environ: dict[str, str]) -> None:
        assert shard_from_environment(environ) == Shard(0, 1)

    @given(
        least=st.integers(0, 1000),
        count=st.integers(1, 50),
        step=st.integers(1, 9),
    )
    def test_gives_each_task_its_own_share(self, least: int, count: int, step: int) -> None:
        ids = list(range(least, least + step * count, step))
        shards = [shard_from_environment(slurm(ids, task, step)) for task in ids]
        assert shards == [Shard(index, count) for index in range(count)]

    def test_is_told_by_id_min_and_count_alone(self) -> None:
        environ = {
            "SLURM_ARRAY_TASK_ID": "3",
            "SLURM_ARRAY_TASK_MIN": "1",
            "SLURM_ARRAY_TASK_COUNT": "4",
        }
        assert shard_from_environment(environ) == Shard(2, 4)

    def test_with_a_step_may_tell_the_end_of_its_range_as_the_highest_id(self) -> None:
        environ = slurm([0, 2, 4, 6], 4, step=2) | {"SLURM_ARRAY_TASK_MAX": "7"}
        assert shard_from_environment(environ) == Shard(2, 4)

    def test_of_one_id_has_all_of_the_work(self) -> None:
        assert shard_from_environment(slurm([5], 5)) == Shard(0, 1)

    def test_requeued_has_the_same_share_again(self) -> None:
        again = slurm(list(range(10)), 5) | {"SLURM_RESTART_COUNT": "1"}
        assert shard_from_environment(again) == Shard(5, 10)

    @pytest.mark.parametrize(
        ("environ", "expected"),
        [({}, Shard(2, 3)), (slurm([0, 1, 2, 3], 2), Shard(8, 12)), (slurm([5], 5), Shard(2, 3))],
    )
    def test_is_shared_by_the_tasks_that_srun_starts(
        self, environ: dict[str, str], expected: Shard
    ) -> None:
        step = {"SLURM_STEP_NUM_TASKS": "3", "SLURM_PROCID": "2"}
        assert shard_from_environment(environ | step) == expected
        alone = {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}
        assert shard_from_environment(environ | alone) == shard_from_environment(environ)

    @pytest.mark.parametrize("task", [1, 5, 7])
    def test_with_holes_is_refused_by_every_task(self, task: int) -> None:
        with pytest.raises(UsageError) as caught:
            shard_from_environment(slurm([1, 5, 7], task))
        assert str(caught.value) == (
            f"cannot tell which share of the work array task {task} has: 3 ids from 1 to 7 with "
            "step 1 leave holes; submit an array without holes, such as --array=0-2, or each task "
            "by itself with --shard I/N"
        )

    @given(ids=st.sets(st.integers(0, 20), min_size=2), step=st.none() | st.integers(1, 5))
    def test_loses_nothing_silently(self, ids: set[int], step: int | None) -> None:
        """Either some task says what is wrong, or the tasks have all shares between them."""
        shards = []
        for task in ids:
            try:
                shards.append(shard_from_environment(slurm(sorted(ids), task, step)))
            except UsageError:
                return
        assert sorted(shard.index for shard in shards) == list(range(len(ids)))
        assert {shard.count for shard in shards} == {len(ids)}

    @pytest.mark.parametrize("name", ["MIN", "COUNT"])
    def test_that_is_told_in_part_is_refused(self, name: str) -> None:
        environ = slurm([0, 1, 2], 1)
        del environ[f"SLURM_ARRAY_TASK_{name}"]
        with pytest.raises(UsageError) as caught:
            shard_from_environment(environ)
        assert str(caught.value) == (
            f"SLURM_ARRAY_TASK_ID is set but SLURM_ARRAY_TASK_{name} is not, so the share of the "
            "work cannot be told; pass all SLURM_ARRAY_TASK_* variables on, or --shard I/N"
        )

    @pytest.mark.parametrize("name", ["ID", "MIN", "MAX", "COUNT", "STEP"])
    def test_told_otherwise_than_in_numbers_is_refused(self, name: str) -> None:
        environ = slurm([0, 1, 2], 1) | {f"SLURM_ARRAY_TASK_{name}": "many"}
        with pytest.raises(UsageError) as caught:
            shard_from_environment(environ)
        assert str(caught.value) == (
            f"SLURM_ARRAY_TASK_{name} is 'many'; expected a whole number; pass --shard I/N"
        )

    @pytest.mark.parametrize("name", ["COUNT", "STEP"])
    def test_of_no_tasks_or_no_step_is_refused(self, name: str) -> None:
        environ = slurm([0, 1, 2], 1) | {f"SLURM_ARRAY_TASK_{name}": "0"}
        with pytest.raises(UsageError, match=f"SLURM_ARRAY_TASK_{name} is 0"):
            shard_from_environment(environ)

    @pytest.mark.parametrize("task", [0, 9])
    def test_whose_task_is_outside_is_refused(self, task: int) -> None:
        environ = slurm([1, 2, 3], 1) | {"SLURM_ARRAY_TASK_ID": str(task)}
        with pytest.raises(UsageError, match=f"share of the work array task {task} has"):
            shard_from_environment(environ)
