"""The family of deliverables.

Each writes bounded segments of frames (`write_segment`), which may be cached and made in any order, and hands over all
of them (`join`). `picture_spec` says what pictures it is made of, `segment_suffix` is the suffix of a segment,
`identity` its part of the segment's digest, `file_name` the name of what is handed over, `mistake` what is wrong with a
picture size or frame rate.
"""

from __future__ import annotations

from typing import Annotated, get_args

from studio.config.records import BY_KIND, nearest
from studio.deliver.movie import Movie
from studio.deliver.sequence import Sequence
from studio.deliver.still import Still

Deliverable = Annotated[Movie | Sequence | Still, *BY_KIND]


def from_name(word: str) -> Movie | Sequence:
    """The movie of a preset, or the sequence of a format. Raises ValueError at another word."""
    presets = get_args(Movie.model_fields["preset"].annotation)
    formats = get_args(Sequence.model_fields["format"].annotation)
    if word in presets:
        return Movie.model_validate({"preset": word})
    if word in formats:
        return Sequence.model_validate({"format": word})
    raise ValueError(f"no preset '{word}'{nearest(word, [*presets, *formats])}")
