import os
import signal
import subprocess
import sys
import time

import pytest

from studio.execution import local

GUARD = 600
"""Seconds after which a test that waits for a process gives up: no machine is so slow. Nothing is measured by it."""


def test_workers_are_other_processes_with_one_thread_each_and_the_parent_keeps_its_own(monkeypatch, pool):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with pool(1) as run:
        results = dict(run([(os.getenv, ("OMP_NUM_THREADS",)), (os.getenv, ("LP_NUM_THREADS",)), (os.getpid, ())]))
    assert (results[0], results[1]) == ("1", "0") and results[2] != os.getpid()
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ


def test_a_worker_that_is_killed_in_mid_task_is_replaced_and_the_result_is_whole(dying, tmp_path, pool):
    mark, arrived, killed = tmp_path / "mark", [], None
    with pool(2) as run:
        for index, value in run([(dying.hang_at_first, (mark, 7)), *[(os.getpid, ())] * 4]):
            arrived.append(index)
            if index == 0:
                assert value[0] == 7 and value[1] != killed
            if killed is None:
                other, killed = value, _written(mark)
                os.kill(killed, signal.SIGKILL)
    assert sorted(arrived) == [0, 1, 2, 3, 4] and arrived[0] != 0 and other != killed  # the other one had worked on


@pytest.mark.parametrize("signalled", [signal.SIGSTOP, signal.SIGCONT], ids=["stopped", "deadlocked"])
def test_a_worker_that_does_nothing_is_ended_and_named_and_its_task_begins_again(
    dying, tmp_path, pool, monkeypatch, caplog, signalled
):
    monkeypatch.setattr(local, "SILENCE", 2)
    mark = tmp_path / "mark"
    with pool(1) as run:
        results = run([(os.getpid, ()), (dying.hang_at_first, (mark, 7))])
        assert next(results)[0] == 0
        os.kill(_written(mark), signalled)
        assert dict(results)[1][0] == 7
    assert "a worker has done nothing for 2 s in hang_at_first, so it is ended" in caplog.text


def test_a_worker_that_is_stopped_when_it_has_nothing_to_do_holds_nobody_up(pool, monkeypatch):
    monkeypatch.setattr(local, "GRACE", 1)
    with pool(1) as run:
        worker = dict(run([(os.getpid, ())]))[0]
        os.kill(worker, signal.SIGSTOP)
    assert _until(lambda: not _lives(worker))


def _written(mark) -> int:
    """The process that wrote the mark, once it has."""
    assert _until(mark.exists)
    return int(mark.read_text())


def _until(happens) -> bool:
    deadline = time.monotonic() + GUARD
    while not happens() and time.monotonic() < deadline:
        time.sleep(0.01)
    return happens()


def test_a_gpu_passes_to_the_worker_that_replaces_a_dead_one(dying, tmp_path, pool):
    mark = tmp_path / "mark"
    with pool(1, gpus=("3",)) as run:
        work = run([(os.getpid, ()), (dying.hang_at_first, (mark, 7)), (os.getenv, ("CUDA_VISIBLE_DEVICES",))])
        next(work)
        os.kill(_written(mark), signal.SIGKILL)
        assert dict(work)[2] == "3"


def test_an_interrupted_parent_ends_a_task_that_would_never_end(dying, tmp_path, pool):
    mark = tmp_path / "mark"
    with pytest.raises(KeyboardInterrupt), pool(1) as run:
        for _ in run([(os.getpid, ()), (dying.hang, (mark,))]):
            busy = _written(mark)
            raise KeyboardInterrupt
    assert not _lives(busy)


PARENT = """
import os, signal
from studio.execution.local import LocalExecutor
from studio.execution.tasks import run_tasks
with LocalExecutor(1) as workers:
    for index, value in run_tasks(workers, [(os.getpid, ()), (signal.pause, ())], 2):
        print(value, flush=True)
"""


@pytest.mark.parametrize("stopped", [False, True])
def test_a_worker_dies_with_its_parent_however_that_died(tmp_path, stopped):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    worker = int(parent.stdout.readline())
    if stopped:  # as in a deadlock, none of its threads runs
        os.kill(worker, signal.SIGSTOP)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    parent.stdout.close()  # not read to its end, which a worker that lives on would hold open
    try:
        assert _until(lambda: not _lives(worker))  # in a task that would never end
    finally:
        if _lives(worker):
            os.kill(worker, signal.SIGKILL)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


SCRIPT = """
import math, os
from studio.execution.local import LocalExecutor
from studio.execution.tasks import run_tasks
print(__name__, flush=True)
before = dict(globals())
with LocalExecutor(2) as workers:
    results = dict(run_tasks(workers, [(math.factorial, (5,)), (os.getpid, ())], 4))
same = all(globals()[name] is value for name, value in before.items())
print(results[0], results[1] != os.getpid(), same and globals().keys() >= before.keys())
"""


@pytest.mark.parametrize(
    ("arguments", "text"), [(("script.py",), None), (("-m", "pkg.script"), None), (("-",), SCRIPT)]
)
def test_a_script_without_a_main_guard_runs_once_and_keeps_its_globals(tmp_path, arguments, text):
    (tmp_path / "pkg").mkdir()
    for path in (tmp_path / "script.py", tmp_path / "pkg" / "script.py"):
        path.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, *arguments],
        input=text,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        text=True,
        capture_output=True,
        check=False,
        timeout=180,  # a script that ran again in its workers would wait for ever
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "__main__\n120 True True\n", "")


def test_every_gpu_has_one_worker_that_sees_no_other(monkeypatch, pool):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    tasks = [(os.getenv, ("CUDA_VISIBLE_DEVICES",))] * 20
    with pool(5, gpus=("3",)) as run:
        results = dict(run([*tasks, *[(os.getpid, ())] * 20]))
    assert {results[n] for n in range(20)} == {"3"} and len({results[n] for n in range(20, 40)}) == 1
    with pool(5, gpus=("3", "7")) as run:
        assert set(dict(run(tasks)).values()) <= {"3", "7"}
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
