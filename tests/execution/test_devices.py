import os

from studio.execution.devices import usable_cores, visible_gpus


def test_there_is_a_worker_for_every_core_this_process_may_use():
    assert usable_cores() == len(os.sched_getaffinity(0))


def test_the_gpus_are_those_the_environment_shows(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-5ebe")
    assert visible_gpus() == ("2", "GPU-5ebe")
    for hidden in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", hidden)
        assert visible_gpus() == ()
