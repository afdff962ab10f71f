import os

import pytest

from studio.errors import SceneError
from studio.execution.devices import VARIABLE, choose, chosen, usable_cores


def test_there_is_a_worker_for_every_core_this_process_may_use():
    assert usable_cores() == len(os.sched_getaffinity(0))


def test_the_option_prevails_over_the_environment(monkeypatch):
    monkeypatch.setenv(VARIABLE, "mps")
    choose(None)
    assert chosen() == "mps"
    choose("cuda:1")
    assert chosen() == "cuda:1"


@pytest.mark.parametrize("word", ["gpu", "cuda:", "cuda:x", "CPU", "cuda:0\n", "cuda:\u0663", "x" * 10**6, "\udcff"])
def test_a_word_that_is_no_device_is_refused_with_those_there_are(monkeypatch, word):
    monkeypatch.setenv(VARIABLE, "")
    with pytest.raises(SceneError, match="is no device; write cpu, cuda, cuda:1 or mps") as caught:
        choose(word)
    assert len(str(caught.value)) < 200 and str(caught.value).isprintable()
