"""The family of deliverables.

Each makes bounded pieces of frames (`segment`), which may be cached and made in any order, and hands over the whole of
them (`join`). `piece` is the suffix of a piece, `identity` its share of the piece's key, `file` the name of what is
handed over, `mistake` an objection to a picture size or frame rate. `bits` and `alpha` say which frames it can make use
of: it takes any, and leaves out what it cannot keep.
"""

from typing import Annotated

from ..spec import BY_KIND
from .movie import Movie
from .sequence import Sequence
from .still import Still

Deliverable = Annotated[Movie | Sequence | Still, *BY_KIND]
