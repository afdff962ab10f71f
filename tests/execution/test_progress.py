import sys

import pytest

from studio.execution import progress
from studio.execution.progress import show, silent


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test moves; returns a function that adds seconds."""
    seconds = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds[0])

    def wait(more: float) -> None:
        seconds[0] += more

    return wait


def test_lines_come_at_the_start_at_the_end_and_at_most_every_ten_seconds_between(clock, capsys):
    with show("measure", 100) as advance:
        for done in range(0, 101, 10):
            advance(done, text="row")
            clock(4)
    assert capsys.readouterr().err.splitlines() == [
        "measure ...",
        "measure: 0 of 100 row",
        "measure: 30 of 100, 2.5/s, 28 s left row",
        "measure: 60 of 100, 2.5/s, 16 s left row",
        "measure: 90 of 100, 2.5/s, 4 s left row",
        "measure: 100 of 100, 2.5/s, 0 s left row",
    ]


def test_the_rate_leaves_out_work_that_was_done_before(clock, capsys):
    with show("train", 100) as advance:
        advance(80)
        clock(10)
        advance(90)
    assert capsys.readouterr().err.splitlines()[-1] == "train: 90 of 100, 1.0/s, 10 s left"


def test_silent_progress_prints_nothing(capsys):
    with silent("measure", 3) as advance:
        advance(3, total=4, text="row")
    assert capsys.readouterr() == ("", "")


def test_a_notebook_with_widgets_gets_a_bar_and_one_without_plain_lines(monkeypatch):
    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr(progress, "_bar", lambda name, total: "bar")
    monkeypatch.setattr(progress, "_lines", lambda name, total: "lines")
    for found, expected in ((object(), "bar"), (None, "lines")):
        monkeypatch.setattr(progress, "find_spec", lambda name, found=found: found)
        assert progress.show("draw", 3) == expected
