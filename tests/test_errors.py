import inspect
import re

import pytest

from studio import errors
from studio.errors import MachineError, RunError, SceneError, StudioError


def test_every_class_and_its_exit_status_is_in_the_drawing_of_the_hierarchy():
    drawn = {name: int(status) for name, status in re.findall(r"(\w+Error)\s+exit (\d)", errors.__doc__)}
    classes = {name: value for name, value in vars(errors).items() if inspect.isclass(value)}
    assert drawn == {name: value.exit_status for name, value in classes.items()}
    assert all(issubclass(value, StudioError) for value in classes.values())


def test_the_users_mistakes_end_with_2_and_the_machines_with_3():
    assert (SceneError.exit_status, RunError.exit_status, MachineError.exit_status) == (2, 2, 3)


def test_several_mistakes_of_a_scene_are_one_line_each():
    with pytest.raises(SceneError, match="^a: first\nb: second$") as caught:
        raise SceneError("a: first", "b: second")
    assert caught.value.mistakes == ("a: first", "b: second")
