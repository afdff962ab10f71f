"""Scenes with changed words, their states, and stages that stop or refuse to draw."""

from contextlib import contextmanager

import pytest

from studio.pipeline import render_job
from studio.pipeline.project import Project
from studio.pipeline.status import status


@pytest.fixture(scope="session")
def edited():
    """Changes words, (old, new), in the scene of a film; its project, on the same shelf."""

    def edited(film, *changes: tuple[str, str]) -> Project:
        text = film.scene.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        film.scene.write_text(text)
        return Project.open(film.scene)

    return edited


@pytest.fixture(scope="session")
def states():
    """The state of every stage of a project, in order."""

    def states(project: Project) -> list[str]:
        return [state for _, state, _ in status(project, project.path.parent / "out" / "tiny")]

    return states


@pytest.fixture(scope="session")
def stopping():
    """Progress that is interrupted in a stage, after so many reports."""

    def stopping(stage: str, after: int):
        @contextmanager
        def progress(name, total):
            calls = []

            def advance(done, total=None, text=""):
                calls.append(done)
                if name == stage and len(calls) == after:
                    raise KeyboardInterrupt

            yield advance

        return progress

    return stopping


@pytest.fixture
def undrawable(monkeypatch):
    """From here on, drawing fails."""

    def refuse(*_):
        raise AssertionError("a frame was drawn")

    monkeypatch.setattr(render_job, "_draw", refuse)
