import math

import pytest

from studio.errors import MachineError


def test_every_result_comes_back_with_the_number_of_its_task(pool):
    with pool(2) as run:
        assert dict(run((math.factorial, (n,)) for n in range(9))) == {n: math.factorial(n) for n in range(9)}
        assert dict(run([(math.hypot, (3, 4))])) == {0: 5.0}
        assert list(run([])) == []


def test_tasks_are_asked_for_as_they_are_needed_and_not_all_at_once(pool):
    numbers = []

    def tasks():
        for n in range(50):
            numbers.append(n)
            yield abs, (-n,)

    with pool(1) as run:
        results = run(tasks())
        next(results)
        assert len(numbers) == 2  # both in flight for the one worker, of which one has come back
        assert len(list(results)) == 49


def test_a_tasks_own_error_arrives_as_it_was(pool):
    with pytest.raises(ValueError, match="math domain|nonnegative"), pool(1) as run:
        list(run([(math.sqrt, (-1.0,))]))


def test_a_task_that_ends_every_worker_is_named_after_three_tries_and_what_had_finished_has_arrived(
    dying, tmp_path, pool
):
    arrived, count = [], tmp_path / "count"
    with (
        pytest.raises(MachineError, match=r"a worker died .* 3 times it ran die\(.*count"),
        pool(1) as run,
    ):
        for index, value in run([(abs, (-3,)), (dying.die, (count,)), (abs, (-4,)), (abs, (-5,))]):
            arrived.append((index, value))
    assert arrived[0] == (0, 3) and count.read_text() == "begun\n" * 3
