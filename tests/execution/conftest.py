"""Workers, and a module of tasks that end their worker."""

import importlib
import sys
from contextlib import contextmanager

import pytest

from studio.execution.local import LocalExecutor
from studio.execution.tasks import run_tasks

DYING = """
import os, pathlib, signal

def hang(mark):
    mark.with_suffix(".new").write_text(str(os.getpid()))
    mark.with_suffix(".new").rename(mark)
    signal.pause()

def hang_at_first(mark, value):
    if not mark.exists():
        hang(mark)
    return value, os.getpid()

def die(count):
    with count.open("a") as lines:
        lines.write("begun\\n")
    os._exit(1)
"""


@pytest.fixture(scope="session")
def pool():
    """Opens workers: a function that runs tasks on them, two in flight for each."""

    @contextmanager
    def pool(count, gpus=()):
        with LocalExecutor(count, gpus) as executor:
            yield lambda tasks: run_tasks(executor, tasks, 2 * (len(gpus) or count))

    return pool


@pytest.fixture
def dying(tmp_path, monkeypatch):
    """A module that a worker can import, and whose tasks do not live long."""
    (tmp_path / "dying.py").write_text(DYING)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("dying")
    sys.modules.pop("dying")
