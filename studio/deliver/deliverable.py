"""The family of deliverables.

    frames -> write_segment -> segments, in any order -> join -> the file or folder that is handed over

A deliverable is a record with the keys of a scene, and with these members: `picture_spec`, the pictures it is made of;
`write_segment` and `join`; `segment_suffix`, the suffix of a segment's name; `identity`, its part of a segment's
digest; `file_name`, the name of what is handed over; `mistake_at`, what is wrong with a picture size and frame rate;
`handles`, film time before and after every shot, 0 of what is made of the film.
"""

from __future__ import annotations

from typing import Annotated, get_args

from studio.config.records import BY_KIND, nearest
from studio.deliver.movie import Movie
from studio.deliver.presets import PRESETS
from studio.deliver.sequence import Sequence
from studio.deliver.still import Still
from studio.deliver.web import Web

Deliverable = Annotated[Movie | Sequence | Still | Web, *BY_KIND]


def from_name(name: str) -> Movie | Sequence | Web:
    """The movie of a preset, the sequence of a format, or `web`, the page. Raises ValueError at any other name."""
    formats = get_args(Sequence.model_fields["format"].annotation)
    if name in PRESETS:
        return Movie.model_validate({"preset": name})
    if name in formats:
        return Sequence.model_validate({"format": name})
    if name == "web":
        return Web()
    raise ValueError(f"no preset '{name}'{nearest(name, [*PRESETS, *formats, 'web'])}")
