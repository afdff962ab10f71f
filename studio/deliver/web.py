"""The web page: one file that a browser shows without a network, made of what the film was made of.

Its program and style are `assets/viewer/viewer.html`, built from the sources beside it; this fills in the contents.
"""

from __future__ import annotations

import html
import io
import json
import re
import zlib
from base64 import b64encode
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from studio.config.records import Record
from studio.config.units import CueTime, Size, Time
from studio.deliver.image_files import write
from studio.deliver.picture_spec import Picture, PictureSpec
from studio.deliver.still import Still
from studio.field import Array
from studio.film.bands import Bands
from studio.film.look import assets_folder
from studio.storage.files import atomic_write

VERSION = 1  # raise it when the same contents are to be written differently
POSTER_HEIGHT = 540
_TEMPLATE = assets_folder() / "viewer" / "viewer.html"


class Web(Record):
    """A page for a browser, one file that needs no network: the land to turn, the sweep to play, the values to read.

    at: film time, such as `6s`, of the view that it opens with; its picture is shown where there is no WebGL 2.
    """

    kind: Literal["web"] = "web"
    at: CueTime = Time(0)

    segment_suffix: ClassVar[str] = ".jpg"
    picture_spec: ClassVar[PictureSpec] = PictureSpec()
    handles: ClassVar[Time] = Time(0)

    def file_name(self, stem: str) -> str:
        """Name of the finished page of a scene called `stem`."""
        return f"{stem}.html"

    def mistake_at(self, size: Size, fps: Fraction | None = None) -> str | None:
        """What is wrong with this picture size, which is only the stand-in's."""
        return Still(at=self.at, format="jpg").mistake_at(size, fps)

    def identity(self) -> dict[str, Any]:
        """Its part of a segment's digest: the page's program belongs to it."""
        return {"version": VERSION, "kind": self.kind, "program": zlib.crc32(_TEMPLATE.read_bytes())}

    def write_segment(
        self, frames: Iterable[Bands | Array | Picture], path: Path, size: Size, fps: Fraction, first: int = 0
    ) -> None:
        """Writes the one frame, the stand-in, as the one segment."""
        [frame] = self.picture_spec.validate(frames, size)
        with atomic_write(path) as temporary:
            write(temporary, frame, Still(at=self.at, format="jpg"))

    def join(
        self,
        segments: list[Path],
        path: Path,
        *,
        frames: int,
        size: Size,
        fps: Fraction,
        provenance: Mapping[str, Any],
        page: tuple[Mapping[str, Any], Array],
    ) -> None:
        """Hands over the page. page: what JSON holds of it, and the codes [n], uint16, of its surfaces."""
        [segment], (content, surfaces) = segments, page
        poster = "data:image/jpeg;base64," + b64encode(_poster(segment)).decode()
        with atomic_write(path) as temporary:
            text = filled({**content, "provenance": provenance}, surfaces, poster)
            temporary.write_text(text, encoding="utf-8")


def filled(content: Mapping[str, Any], surfaces: Array, poster: str) -> str:
    """The text of a page. content: what JSON holds of it. surfaces: codes [n], uint16. poster: link of the stand-in."""
    words = {
        "TITLE": html.escape(str(content["title"])),
        "POSTER": poster,
        "CONTENT": _json(content),
        "SURFACES": b64encode(zlib.compress(interleave(surfaces), 9)).decode(),
    }
    return re.sub(rf"\[\[({'|'.join(words)})\]\]", lambda m: words[m[1]], _TEMPLATE.read_text(encoding="utf-8"))


def _json(content: Mapping[str, Any]) -> str:
    """JSON that ends no element of HTML."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def interleave(codes: Array) -> bytes:
    """Differences of neighbouring codes, modulo 2^16: all high bytes, then all low ones, which compress better."""
    steps = np.diff(codes, prepend=np.uint16(0)).astype("<u2")
    return np.ascontiguousarray(steps.view(np.uint8).reshape(-1, 2).T[::-1]).tobytes()


def _poster(segment: Path) -> bytes:
    """A JPEG of `POSTER_HEIGHT` lines or a little more."""
    import imageio.v3 as iio

    picture = iio.imread(segment)
    n = max(1, len(picture) // POSTER_HEIGHT)
    rows, columns = (side - side % n for side in picture.shape[:2])
    small = picture[:rows, :columns].reshape(rows // n, n, columns // n, n, 3).mean(axis=(1, 3))
    buffer = io.BytesIO()
    iio.imwrite(buffer, np.rint(small).astype(np.uint8), extension=".jpg", quality=82)
    return buffer.getvalue()
