"""From measured surfaces to finished files: frames are drawn once as plates, and every deliverable is made from these.

    surfaces  ->  plates, one a frame  ->  pieces of each deliverable  ->  one file each

A frame whose plate is kept is not drawn again, whatever becomes of its grade, its type or its codec.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from . import tasks, workers
from .deliver.movie import Movie
from .errors import MachineError, SceneError
from .spec import digest
from .workers import Task

SAMPLED = 5
"""Frames that are drawn again to verify a film."""


@dataclass(frozen=True)
class Filming:
    """An order at work. span: first frame, and one past the last. count: of workers. progress: as in the pipeline.

    owning: gives sole ownership of a key among all processes.
    """

    order: tasks.Order
    span: tuple[int, int]
    count: int
    progress: Callable[[str, int], AbstractContextManager[Callable[..., None]]]
    owning: Callable[[str], AbstractContextManager[None]]

    @cached_property
    def pieces(self) -> list[list[tasks.Piece]]:
        """The pieces of every deliverable."""
        return [list(self.order.pieces(index, self.span)) for index in range(len(self.order.scene.deliver))]

    @property
    def keys(self) -> dict[str, list[str]]:
        """Of all that the shelf keeps for it, by the shelf's rooms."""
        pieces = sum(self.pieces, [])
        plates = {plate for piece in pieces for plate in piece.plates}
        return {"plates": sorted(plates), "pieces": sorted({piece.key for piece in pieces})}

    def make(self, out: Path, stem: str, provenance: Mapping[str, Any], *, whole: bool) -> dict[int, Path]:
        """Makes the deliverables in the folder `out`; their paths by their places in the scene.

        stem: of their names. whole: whether it is all of the film, which may have to loop.
        """
        if self._missing():
            with self.owning(f"film-{digest(self.keys)}"), workers.pool(self.count) as run:
                self._draw(run)
        made = {}
        for index, deliverable in enumerate(self.order.scene.deliver):
            if pieces := self.pieces[index]:
                if not whole and isinstance(deliverable, Movie):
                    deliverable = deliverable.model_copy(update={"loop": False})  # a part need not lead into itself
                made[index] = out / deliverable.file(stem)
                deliverable.join(
                    [piece.path for piece in pieces],
                    made[index],
                    frames=sum(piece.stop - piece.start for piece in pieces),
                    size=self.order.size,
                    fps=self.order.reel.cut.fps,
                    provenance=provenance,
                )
        return made

    def undrawn(self) -> list[int]:
        """The frames that would have to be drawn: their plates are missing, and so is a piece that shows them."""
        return [number for number in self._frames(self._missing()) if not self.order.plate(number).whole]

    def verify(self) -> list[int]:
        """Draws a sample of frames again in a fresh process, and returns their numbers if they are the kept ones.

        Raises MachineError if one is not, and SceneError if none is kept.
        """
        kept = [number for number in self._frames(sum(self.pieces, [])) if self.order.plate(number).whole]
        if not kept:
            raise SceneError("no drawn frames are kept, so there is nothing to verify; make the film first")
        sample = sorted({kept[round(i * (len(kept) - 1) / (SAMPLED - 1))] for i in range(SAMPLED)})
        with self._telling("verify", len(sample)) as tell, workers.pool(1) as run:
            wrong = {
                sample[index]: others
                for index, others in tell(run([(tasks.redrawn, (self.order, number)) for number in sample]))
                if others
            }
        if wrong:
            said = ", ".join(f"frame {number} in {others} numbers" for number, others in wrong.items())
            raise MachineError(
                f"drawn again, {said} came out otherwise; something in this machine's GL has changed, or its memory "
                "fails: remove the plates with `studio clean --plates` and make the film again"
            )
        return sample

    def _missing(self) -> list[tasks.Piece]:
        return list({p.key: p for found in self.pieces for p in found if not p.path.exists()}.values())

    def _frames(self, pieces: Iterable[tasks.Piece]) -> list[int]:
        """The numbers of the frames that some pieces show, of which there are plates."""
        return sorted({number for piece in pieces for number in range(*tasks.stretch(piece))})

    def _draw(self, run: Callable) -> None:
        missing = self._missing()  # asked again: another studio may have been at work
        if self.order.tiled:
            undrawn = [(n, tile) for n in self.undrawn() for tile in self.order.plate(n).missing()]
            with self._telling("draw tiles", len(undrawn)) as tell:
                for _ in tell(run([(tasks.draw_tile, (self.order, *which)) for which in undrawn])):
                    pass
        together = [tuple(group) for _, group in groupby(sorted(missing, key=tasks.stretch), key=tasks.stretch)]
        lengths = [group[0].stop - group[0].start for group in together]
        work: Sequence[Task] = [(tasks.draw, (self.order, group)) for group in together]
        with self._telling("draw", sum(lengths)) as tell:
            for _ in tell(run(work), lengths):
                pass

    @contextmanager
    def _telling(self, name: str, total: int):
        """Passes results on and tells how many frames, or whatever they are of, are done."""
        with self.progress(name, total) as advance:

            def tell(results: Iterable[tuple[int, Any]], lengths: Sequence[int] | None = None):
                done = 0
                for index, result in results:
                    yield index, result
                    advance(done := done + (lengths[index] if lengths else 1))

            yield tell
