"""Noise as pictures, finished stills and movies, and readers of picture files that share no code with the writer.

Readers: FFmpeg through PyAV for the pixels of PNG and TIFF, OpenEXR for EXR, Pillow for JPEG and for metadata.
"""

import json
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from studio.config.units import Size, Time
from studio.deliver.media import Animation, Media
from studio.deliver.movie import Movie
from studio.deliver.picture_spec import Picture, PictureSpec
from studio.deliver.still import Still
from studio.film.bands import Bands

SIZE = Size(31, 17)  # odd on purpose: pictures may be
MOVIE_SIZE = Size(256, 128)
FPS = Fraction(24)
EIGHT_BITS = PictureSpec()
AOV_CHANNELS = {
    "depth": ["depth.Z"],
    "normal": ["normal.X", "normal.Y", "normal.Z"],
    "position": ["position.X", "position.Y", "position.Z"],
    "loss": ["loss.Y"],
    "convexity": ["convexity.Y"],
    "mask": ["mask.Y"],
}


@pytest.fixture(scope="session")
def aov_channels() -> dict[str, list[str]]:
    """Names of the channels of every AOV."""
    return AOV_CHANNELS


@pytest.fixture(scope="session")
def noise():
    """Makes a picture of noise, as a picture spec asks for, from a seed."""
    return _noise


def _noise(seed: int, spec: PictureSpec = EIGHT_BITS, size: Size = SIZE) -> np.ndarray:
    shape, codes = (size.height, size.width, 4 if spec.alpha else 3), 256**spec.dtype.itemsize
    values = np.random.default_rng(seed).integers(0, codes, shape, np.uint16)
    return values.astype(spec.dtype) if spec.bits else (values / 8192).astype(np.float16)


@pytest.fixture(scope="session")
def noise_with_aovs():
    """Makes a picture of noise with AOVs, each of other numbers."""

    def make(spec: PictureSpec) -> Picture:
        random = np.random.default_rng(1)
        aovs = {name: random.normal(size=(SIZE.height, SIZE.width, len(AOV_CHANNELS[name]))) for name in spec.aovs}
        types = {"normal": np.float16, "mask": np.float16}
        aovs = {name: values.astype(types.get(name, np.float32)) for name, values in aovs.items()}
        return Picture(Bands.from_array(_noise(5, spec)), aovs)

    return make


@pytest.fixture(scope="session")
def banded():
    """Cuts a picture into bands of so many rows."""

    def cut(frame: np.ndarray, rows: int) -> Bands:
        return Bands(frame.shape, frame.dtype, lambda: (frame[i : i + rows] for i in range(0, len(frame), rows)))

    return cut


@pytest.fixture(scope="session")
def still():
    """Makes the finished still of a frame, or of noise."""

    def make(folder: Path, frame: np.ndarray | Bands | Picture | None = None, provenance=None, **options) -> Path:
        record = Still(at=Time(6.0), **options)
        frame = _noise(5, record.picture_spec) if frame is None else frame
        height, width, _ = frame.picture.shape if isinstance(frame, Picture) else frame.shape
        size, segment = Size(width, height), folder / f"segment{record.segment_suffix}"
        record.write_segment([frame], segment, size, FPS, first=144)
        path = folder / record.file_name("film")
        record.join([segment], path, frames=1, size=size, fps=FPS, provenance=provenance or {"frame": 144})
        return path

    return make


@pytest.fixture(scope="session")
def read_pixels():
    """Reads the pixels of a picture file as they are stored."""

    def read(path: Path) -> np.ndarray:
        if path.suffix == ".exr":
            import OpenEXR

            with OpenEXR.File(str(path)) as file:
                [channel] = file.channels().values()
                return channel.pixels
        if path.suffix == ".jpg":
            with Image.open(path) as image:
                return np.asarray(image)
        with av.open(str(path)) as file:
            return next(file.decode(video=0)).to_ndarray()

    return read


@pytest.fixture(scope="session")
def read_provenance():
    """Reads the provenance in a picture file."""

    def read(path: Path) -> dict:
        if path.suffix == ".exr":
            import OpenEXR

            with OpenEXR.File(str(path)) as file:
                return json.loads(file.header()["comments"])
        with Image.open(path) as image:
            if path.suffix == ".tif":
                return json.loads(image.tag_v2[TiffImagePlugin.IMAGEDESCRIPTION])
            return json.loads(image.info["comment"] if path.suffix == ".jpg" else image.text["provenance"])

    return read


@pytest.fixture(scope="session")
def drifting_frames():
    """Makes the frames [start, stop) of a slope that drifts by two pixels a frame, uint16."""

    def make(start: int, stop: int, size: Size = MOVIE_SIZE) -> Iterator[np.ndarray]:
        y, x = np.mgrid[0 : size.height, 0 : size.width]
        for n in range(start, stop):
            slope = 0.25 + 0.2 * np.sin((x + 2 * n) / 17) * np.cos(y / 23)
            yield (65535 * np.stack([slope, 0.7 * slope, 0.5 - 0.5 * slope], axis=-1)).astype(np.uint16)

    return make


@pytest.fixture(scope="session")
def fit_frames():
    """Converts pictures of 8 or 16 bits to a picture spec; opaque where they have no alpha and the spec has."""
    return _fit_frames


def _fit_frames(pictures: Iterable[np.ndarray], spec: PictureSpec) -> Iterator[np.ndarray]:
    for picture in pictures:
        shares = picture / np.iinfo(picture.dtype).max
        if spec.alpha and picture.shape[2] == 3:
            shares = np.dstack([shares, np.ones(picture.shape[:2])])
        yield np.rint(shares * np.iinfo(spec.dtype).max).astype(spec.dtype)


@pytest.fixture(scope="session")
def make_movie():
    """Makes (the movie of the pictures, its segments, what it holds). cuts: where later segments begin."""

    def make(
        folder: Path,
        preset: str,
        pictures: Iterable[np.ndarray],
        cuts: tuple[int, ...] = (1,),
        fps: Fraction = FPS,
        size: Size = MOVIE_SIZE,
        **options,
    ) -> tuple[Path, list[Path], Media | Animation]:
        movie, segments = Movie(preset=preset, **options), []
        frames = list(_fit_frames(pictures, movie.picture_spec))
        for start, stop in zip((0, *cuts), (*cuts, len(frames)), strict=True):
            segments.append(folder / f"{start}{movie.segment_suffix}")
            movie.write_segment(frames[start:stop], segments[-1], size, fps, start)
        path, provenance = folder / movie.file_name("film"), {"by": "\u00c9", "seed": 3}
        media = movie.join(segments, path, frames=len(frames), size=size, fps=fps, provenance=provenance)
        return path, segments, media

    return make


@pytest.fixture(scope="session")
def damage():
    """Overwrites some bytes at shares of a file."""

    def overwrite(path: Path, *places: float) -> None:
        data, random = bytearray(path.read_bytes()), np.random.default_rng(0)
        for place in np.array(places) * len(data):
            data[int(place) : int(place) + 64] = random.bytes(64)
        path.write_bytes(data)

    return overwrite
