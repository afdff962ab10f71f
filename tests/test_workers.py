import math
import os
import signal
import subprocess
import sys
import time

import pytest

from studio import workers
from studio.errors import MachineError

# Tasks are functions of the standard library: a spawned worker must be able to import them by name.


def test_every_result_comes_back_with_the_number_of_its_task():
    with workers.pool(2) as run:
        assert dict(run((math.factorial, (n,)) for n in range(9))) == {n: math.factorial(n) for n in range(9)}
        assert dict(run([(math.hypot, (3, 4))])) == {0: 5.0}
        assert list(run([])) == []


def test_workers_are_other_processes_with_one_thread_each_and_the_parent_keeps_its_own(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    with workers.pool(1) as run:
        found = dict(run([(os.getenv, ("OMP_NUM_THREADS",)), (os.getenv, ("LP_NUM_THREADS",)), (os.getpid, ())]))
    assert (found[0], found[1]) == ("1", "0") and found[2] != os.getpid()
    assert os.environ["OMP_NUM_THREADS"] == "7" and "MKL_NUM_THREADS" not in os.environ


def test_tasks_are_asked_for_as_they_are_needed_and_not_all_at_once():
    asked = []

    def tasks():
        for n in range(50):
            asked.append(n)
            yield abs, (-n,)

    with workers.pool(1) as run:
        results = run(tasks())
        next(results)
        assert len(asked) <= 3  # two in flight for the one worker, and the one that has come back
        assert len(list(results)) == 49


def test_a_tasks_own_error_arrives_as_it_was():
    with pytest.raises(ValueError, match="math domain|nonnegative"), workers.pool(1) as run:
        list(run([(math.sqrt, (-1.0,))]))


def test_a_dead_worker_is_the_machines_fault_and_what_it_had_finished_has_arrived():
    arrived = []
    with pytest.raises(MachineError, match="a worker died"), workers.pool(1) as run:
        for index, value in run([(abs, (-3,)), (time.sleep, (0.5,)), (os._exit, (1,)), (abs, (-4,))]):
            arrived.append((index, value))
    assert arrived[0] == (0, 3)


def test_an_interrupted_parent_does_not_wait_for_long_tasks():
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), workers.pool(1) as run:
        for _ in run([(os.getpid, ()), (time.sleep, (60,))]):
            raise KeyboardInterrupt
    assert time.monotonic() - began < 20  # starting a process takes seconds on a busy machine; the task takes 60


PARENT = """
import os, time
from studio import workers
if __name__ == "__main__":
    with workers.pool(1) as run:
        for index, value in run([(os.getpid, ()), (time.sleep, (60,))]):
            print(value, flush=True)
"""


def test_a_worker_dies_with_its_parent_however_that_died(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    worker = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    deadline = time.monotonic() + 20
    while _lives(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(worker)


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_there_is_a_worker_for_every_core_this_process_may_use():
    assert workers.default_count() == len(os.sched_getaffinity(0))


def test_the_gpus_are_those_the_environment_shows(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-5ebe")
    assert workers.gpus() == ("2", "GPU-5ebe")
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert workers.gpus() == ()


def test_every_gpu_has_one_worker_that_sees_no_other(monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    asked = [(os.getenv, ("CUDA_VISIBLE_DEVICES",))] * 20
    with workers.pool(5, devices=("3",)) as run:
        found = dict(run([*asked, *[(os.getpid, ())] * 20]))
    assert {found[n] for n in range(20)} == {"3"} and len({found[n] for n in range(20, 40)}) == 1
    with workers.pool(5, devices=("3", "7")) as run:
        assert set(dict(run(asked)).values()) <= {"3", "7"}
    assert "CUDA_VISIBLE_DEVICES" not in os.environ
