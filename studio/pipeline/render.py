"""From measured surfaces to finished files: frames are drawn once as plates, and every deliverable is made from these.

    surfaces  ->  plates, one a frame  ->  pieces of each deliverable  ->  one file each

A frame whose plate is kept is not drawn again, whatever becomes of its grade, its type or its codec.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

from studio.config.records import digest
from studio.deliver.movie import Movie
from studio.errors import MachineError, SceneError
from studio.execution import workers
from studio.execution.progress import Progress, track
from studio.pipeline import render_job
from studio.storage.shelf import LinearFrame

SAMPLED = 5
"""Frames that are drawn again to verify a film."""


@dataclass(frozen=True)
class Rendering:
    """An order at work. span: first frame, and one past the last. count: of workers."""

    order: render_job.RenderJob
    span: tuple[int, int]
    count: int
    progress: Progress

    @cached_property
    def pieces(self) -> list[list[render_job.Segment]]:
        """The pieces of every deliverable."""
        return self.order.pieces(self.span)

    @property
    def used(self) -> dict[str, list[str]]:
        """The keys of all that the shelf keeps for it, by what they name."""
        pieces = sum(self.pieces, [])
        plates = {plate for piece in pieces for plate in piece.plates}
        return {"plates": sorted(plates), "pieces": sorted({piece.key for piece in pieces})}

    def make(self, out: Path, stem: str, provenance: Mapping[str, Any], *, whole: bool) -> dict[int, Path]:
        """Makes the deliverables in the folder `out`; their paths by their places in the scene.

        stem: of their names. whole: whether it is all of the film, which may have to loop.
        """
        if self._missing():
            owned = self.order.measured.shelf.lock(f"film-{digest(self.used)}", self.progress)
            with owned, workers.pool(self.count) as run:
                if whole:
                    self._draw_ends(run, out, stem)
                self._draw(run, self._missing())  # asked again: another studio may have been at work
        made = {}
        for index, deliverable in enumerate(self.order.scene.deliver):
            if pieces := self.pieces[index]:
                if not whole and isinstance(deliverable, Movie):
                    deliverable = deliverable.model_copy(update={"loop": False})  # a part need not lead into itself
                made[index] = out / deliverable.file_name(stem)
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
        return self._undrawn(self._missing())

    def verify(self) -> list[int]:
        """Draws a sample of frames again in a fresh process, and returns their numbers if they are the kept ones.

        Raises MachineError if one is not, and SceneError if none is kept.
        """
        plates = self._plates(sum(self.pieces, []))
        kept = [number for number, plate in plates.items() if plate.whole]
        if not kept:
            raise SceneError("no drawn frames are kept, so there is nothing to verify; make the film first")
        sample = sorted({kept[round(i * (len(kept) - 1) / (SAMPLED - 1))] for i in range(SAMPLED)})
        work = [(render_job.redrawn, (self.order, number, plates[number])) for number in sample]
        with track(self.progress, "verify", [1] * len(work)) as told, workers.pool(1) as run:
            wrong = {sample[index]: others for index, others in told(run(work)) if others}
        if wrong:
            said = ", ".join(f"frame {number} in {others} numbers" for number, others in wrong.items())
            raise MachineError(
                f"drawn again, {said} came out otherwise; something in this machine's GL has changed, or its memory "
                "fails: remove the plates with `studio clean --plates` and make the film again"
            )
        return sample

    def _missing(self) -> list[render_job.Segment]:
        return list({p.key: p for found in self.pieces for p in found if not p.path.exists()}.values())

    def _undrawn(self, pieces: Iterable[render_job.Segment]) -> list[int]:
        return [number for number, plate in self._plates(pieces).items() if not plate.whole]

    def _plates(self, pieces: Iterable[render_job.Segment]) -> dict[int, LinearFrame]:
        """The plates of all frames that some pieces show, by the frames' numbers."""
        keys = {number: key for piece in pieces for number, key in enumerate(piece.plates, piece.start)}
        return {number: self.order.kept(keys[number]) for number in sorted(keys)}

    def _draw_ends(self, run: Callable, out: Path, stem: str) -> None:
        """Of movies that must loop draws both ends first: one that does not is told before the rest is drawn."""
        both = zip(self.order.scene.deliver, self.pieces, strict=True)
        loops = [(movie, own[0], own[-1]) for movie, own in both if isinstance(movie, Movie) and movie.loop and own]
        keys = {piece.key for _, *ends in loops for piece in ends}
        self._draw(run, [piece for piece in self._missing() if piece.key in keys])
        for movie, *ends in loops:
            movie.check_loop([piece.path for piece in ends], out / movie.file_name(stem))

    def _draw(self, run: Callable, missing: list[render_job.Segment]) -> None:
        if not missing:
            return
        if self.order.tiled:
            plates = self._plates(missing)
            tiles = [(number, plate, tile) for number, plate in plates.items() for tile in plate.missing()]
            self._run(run, "draw tiles", render_job.draw_tile, tiles, [1] * len(tiles))
        name, span = "draw" if self._undrawn(missing) else "encode", attrgetter("span")
        together = [tuple(group) for _, group in groupby(sorted(missing, key=span), key=span)]
        lengths = [len(group[0].plates) for group in together]
        self._run(run, name, render_job.draw, [(group,) for group in together], lengths)

    def _run(self, run: Callable, name: str, task: Callable, each: list[tuple], counts: list[int]) -> None:
        """Has the workers do a task for each of several arguments, which count so many frames, or tiles."""
        with track(self.progress, name, counts) as told:
            for _ in told(run([(task, (self.order, *arguments)) for arguments in each])):
                pass
