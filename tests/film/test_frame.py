from dataclasses import fields, is_dataclass

import numpy as np
import pytest

from studio.config.records import Record
from studio.film.frame import Frame, View
from studio.film.look import gallery
from studio.film.marks import Text
from studio.film.pose import Orbit
from studio.film.resolve import resolve_appearance, resolve_background, resolve_grading


def leaves(value: object):
    """Everything that a value holds, at any depth."""
    yield value
    inner = [getattr(value, field.name) for field in fields(value)] if is_dataclass(value) else value
    if isinstance(inner, (tuple, list)):
        for part in inner:
            yield from leaves(part)


@pytest.mark.parametrize("name", gallery())
def test_a_frame_holds_no_record_in_any_look(name):
    look, flat = gallery()[name], np.zeros((3, 3), np.float32)
    view = View(flat, flat, Orbit(0.0, 30.0, 2.0, 30.0).pose((0.0, 0.0, 0.0)), resolve_appearance(look, 10.0))
    texts = (Text("a", 0.1, 0.1, 0.1, 1.0),)
    frame = Frame(0, (view,), texts, resolve_grading(look.grade), resolve_background(look.background))
    parts = list(leaves(frame))
    assert len(parts) > 80 and not any(isinstance(part, Record) for part in parts)
