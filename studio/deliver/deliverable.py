"""The family of deliverables.

Each makes bounded pieces of frames (`segment`), which may be cached and made in any order, and hands over the whole of
them (`join`). `wants` says what pictures it is made of, `piece` is the suffix of a piece, `identity` its share of the
piece's key, `file` the name of what is handed over, `mistake` an objection to a picture size or frame rate.
"""

from __future__ import annotations

from typing import Annotated, get_args

from studio.config.records import BY_KIND, nearest
from studio.deliver.movie import Movie
from studio.deliver.sequence import Sequence
from studio.deliver.still import Still

Deliverable = Annotated[Movie | Sequence | Still, *BY_KIND]


def by_word(word: str) -> Movie | Sequence:
    """The movie of a preset, or the sequence of a format. Raises ValueError if there is neither."""
    named = {"preset": Movie, "format": Sequence}
    words = {name: (kind, key) for key, kind in named.items() for name in get_args(kind.model_fields[key].annotation)}
    if word not in words:
        raise ValueError(f"no preset '{word}'{nearest(word, words)}")
    kind, key = words[word]
    return kind(**{key: word})
