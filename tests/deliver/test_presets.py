"""Every preset of a movie: what the file says of itself, what comes back from it, and that segments join unchanged."""

import hashlib
import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from scipy.ndimage import gaussian_filter

from studio.config.units import Size
from studio.deliver import encoder
from studio.deliver.media import probe
from studio.deliver.movie import Movie
from studio.deliver.picture_spec import PictureSpec
from studio.deliver.presets import PRESETS
from studio.errors import MachineError

SIZE = Size(256, 128)
FPS = Fraction(24)
STREAMS = [name for name in PRESETS if name not in ("gif", "webp")]
YUV = [name for name in STREAMS if name != "ffv1"]


def decoded(path: Path) -> list[av.VideoFrame]:
    """The frames, with alpha where there is some: the native VP9 decoder does not see it, that of libvpx does."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if stream.codec_context.name != "vp9":
            return list(container.decode(stream))
        decoder = av.Codec("libvpx-vp9", "r").create()
        return [frame for packet in container.demux(stream) for frame in decoder.decode(packet)]


def planes(frame: av.VideoFrame) -> list[np.ndarray]:
    """Each plane [height, width] in 0..1 of full codes, float."""
    bits = frame.format.components[0].bits
    code = np.uint8 if bits == 8 else np.uint16
    return [np.frombuffer(p, code).reshape(p.height, -1)[:, : p.width] / (2**bits - 1) for p in frame.planes]


def fingerprints(path: Path) -> list[str]:
    return [hashlib.sha256(b"".join(map(bytes, frame.planes))).hexdigest() for frame in decoded(path)]


def rgb_at(frame: av.VideoFrame, y: int, x: int) -> np.ndarray:
    """The colour of a pixel in 0..255, by BT.709's definition: kr = 0.2126, kb = 0.0722; limited range."""
    actual = planes(frame)
    if frame.format.name.startswith("gbr"):
        return 255 * np.array([actual[2][y, x], actual[0][y, x], actual[1][y, x]])
    tall, wide = frame.height // actual[1].shape[0], frame.width // actual[1].shape[1]
    full = (2 ** frame.format.components[0].bits - 1) / 2 ** (frame.format.components[0].bits - 8)
    luma, u, v = actual[0][y, x] * full, *(plane[y // tall, x // wide] * full for plane in actual[1:3])
    luma, u, v = (luma - 16) / 219, (u - 128) / 224, (v - 128) / 224
    r, b = luma + 2 * (1 - 0.2126) * v, luma + 2 * (1 - 0.0722) * u
    return 255 * np.array([r, (luma - 0.2126 * r - 0.0722 * b) / 0.7152, b])


# --- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", STREAMS)
def test_a_movie_says_what_its_preset_promises(tmp_path, preset, make_movie, drifting_frames):
    path, _, _ = make_movie(tmp_path, preset, drifting_frames(0, 8), cuts=(3, 4))
    media, expected = probe(path), PRESETS[preset]
    assert (media.frames, media.fps, media.size, media.constant_rate) == (8, FPS, SIZE, True)
    assert (media.codec, media.alpha) == (expected.codec, expected.alpha)
    assert (media.primaries, media.transfer, media.matrix, media.range) == expected.tags
    assert json.loads(media.comment) == {"by": "\u00c9", "seed": 3}


@pytest.mark.parametrize("preset", STREAMS)
def test_segments_join_to_the_very_pictures_of_the_segments(tmp_path, preset, make_movie, drifting_frames):
    path, segments, _ = make_movie(
        tmp_path, preset, drifting_frames(0, 9), cuts=(4, 5)
    )  # one segment of a single frame
    joined = fingerprints(path)
    assert joined == [picture for segment in segments for picture in fingerprints(segment)]
    assert len(set(joined)) == 9


@pytest.mark.parametrize("preset", PRESETS)
def test_the_same_frames_give_the_same_bytes(tmp_path, preset, make_movie, drifting_frames):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = (make_movie(tmp_path / name, preset, drifting_frames(0, 3))[0] for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("preset", ["hevc-10", "prores-422hq", "ffv1"])  # one of each way to keep time
@pytest.mark.parametrize("fps", [Fraction(24000, 1001), Fraction(25, 2), Fraction(60000, 1001), Fraction(120)])
def test_every_frame_stands_at_its_time_across_segments_in_every_container(
    tmp_path, preset, fps, make_movie, drifting_frames
):
    path, _, _ = make_movie(
        tmp_path, preset, drifting_frames(0, 12, Size(64, 64)), cuts=(1, 4, 9), fps=fps, size=Size(64, 64)
    )
    media = probe(path)
    assert media.fps == fps and media.constant_rate


@pytest.mark.parametrize("preset", STREAMS)
@pytest.mark.parametrize("cuts", [(3,), (5,), (3, 6)])  # a film is cut into segments of three frames or more
def test_short_segments_at_either_end_keep_the_time_too(tmp_path, preset, cuts, make_movie, drifting_frames):
    size = Size(256, 120)
    path, _, _ = make_movie(
        tmp_path, preset, drifting_frames(0, 9 if len(cuts) == 2 else 8, size), cuts=cuts, size=size
    )
    media = probe(path)
    assert media.fps == FPS and media.constant_rate


def test_a_master_begins_at_the_first_hour(tmp_path, make_movie, drifting_frames):
    path, _, _ = make_movie(tmp_path, "prores-422hq", drifting_frames(0, 2))
    with av.open(str(path)) as container:
        assert container.streams.video[0].metadata["timecode"] == "01:00:00:00"


def test_a_provenance_longer_than_a_mov_text_comes_back_unchanged(tmp_path, drifting_frames):
    movie, provenance = Movie(preset="prores-422hq"), {"slices": "x" * 100_000}
    movie.write_segment(drifting_frames(0, 1), tmp_path / "segment.mov", SIZE, FPS)
    media = movie.join(
        [tmp_path / "segment.mov"], tmp_path / "film.mov", frames=1, size=SIZE, fps=FPS, provenance=provenance
    )
    assert json.loads(media.comment) == provenance


def test_segments_of_another_preset_are_refused(tmp_path, drifting_frames):
    Movie(preset="prores-422hq").write_segment(drifting_frames(0, 2), tmp_path / "segment.mov", SIZE, FPS)
    with pytest.raises(MachineError, match="codec is prores, not dnxhd"):
        Movie(preset="dnxhr").join(
            [tmp_path / "segment.mov"], tmp_path / "film.mov", frames=2, size=SIZE, fps=FPS, provenance={}
        )
    assert not (tmp_path / "film.mov").exists()


def grained(drifting_frames, count: int):
    """Frames of which a file holds far more than of other things."""
    noise = np.random.default_rng(0)
    for picture in drifting_frames(0, count):
        yield (picture + noise.normal(0, 800, (*SIZE[::-1], 1))).clip(0, 65535).astype(np.uint16)


@pytest.mark.parametrize("preset", ["h264-web", "hevc-10", "prores-422hq", "prores-4444", "dnxhr", "ffv1"])
def test_a_movie_with_a_segment_that_is_broken_in_the_middle_is_not_kept_and_the_segment_is_named(
    tmp_path, preset, fit_frames, damage, drifting_frames
):
    movie = Movie(preset=preset)
    segments = [tmp_path / f"{n}{movie.segment_suffix}" for n in range(2)]
    for segment in segments:
        movie.write_segment(fit_frames(grained(drifting_frames, 6), movie.picture_spec), segment, SIZE, FPS)
    damage(segments[1], *np.linspace(0.2, 0.9, 8))
    with pytest.raises(MachineError, match=rf"film\..* cannot be decoded: .*; remove {segments[1]} and run again"):
        movie.join(segments, tmp_path / f"film{movie.segment_suffix}", frames=12, size=SIZE, fps=FPS, provenance={})
    assert not (tmp_path / f"film{movie.segment_suffix}").exists()


@pytest.mark.parametrize("preset", [name for name in STREAMS if PRESETS[name].codec != "h264"])
def test_a_movie_that_is_damaged_as_it_is_copied_is_not_kept(
    tmp_path, preset, monkeypatch, fit_frames, damage, drifting_frames
):
    copy = encoder.run

    def damaging(output, chunks, folder):
        complaint = copy(output, chunks, folder)
        [written] = [path for path in tmp_path.iterdir() if path.name.startswith(".film")]
        damage(written, 0.4)  # inside a picture in every container
        return complaint

    movie = Movie(preset=preset)
    movie.write_segment(
        fit_frames(grained(drifting_frames, 4), movie.picture_spec), tmp_path / f"0{movie.segment_suffix}", SIZE, FPS
    )
    monkeypatch.setattr("studio.deliver.encoder.run", damaging)
    with pytest.raises(MachineError, match="not whole, so not kept: its packets are not those of its segments"):
        movie.join(
            [tmp_path / f"0{movie.segment_suffix}"],
            tmp_path / f"film{movie.segment_suffix}",
            frames=4,
            size=SIZE,
            fps=FPS,
            provenance={},
        )


def test_the_bundled_ffmpeg_has_every_encoder_that_is_needed():
    assert {name: Movie(preset=name).encoders - encoder.encoders() for name in PRESETS} == dict.fromkeys(
        PRESETS, frozenset()
    )


# --- the picture -----------------------------------------------------------------------------------------------------

PATCHES = np.array(
    [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (128, 128, 128), (20, 14, 30), (255, 138, 43)],
    np.uint8,
)
TEN = ["hevc-10", "av1-10", "prores-422hq", "prores-4444", "dnxhr"]
PLACES = [(32 + 64 * (i // 4), 32 + 64 * (i % 4)) for i in range(8)]


def patches() -> np.ndarray:
    return np.repeat(np.repeat(PATCHES.reshape(2, 4, 3), 64, axis=0), 64, axis=1)


@pytest.mark.parametrize("preset", STREAMS)
def test_colours_come_back_within_three_codes(tmp_path, preset, make_movie):
    # 8 bit: half a step of V alone is 0.9 codes of red, Y adds 0.6; the codec quantises to within a code of that. 10
    # bits: a quarter of it, which is how the scale filter's gain of 0.35 % into 10 bits, 0.9 codes of white, was found.
    _, segments, _ = make_movie(tmp_path, preset, [patches()] * 2, cuts=())
    frame = decoded(segments[0])[-1]
    errors = [np.abs(rgb_at(frame, *place) - expected).max() for place, expected in zip(PLACES, PATCHES, strict=True)]
    assert max(errors) <= (0.6 if preset in (*TEN, "ffv1") else 3)


@pytest.mark.parametrize("preset", ["gif", "webp"])
def test_colours_of_an_animation_come_back_within_three_codes(tmp_path, preset, make_movie):
    moving = [np.roll(patches(), 64 * n, axis=1) for n in range(4)]
    path, _, _ = make_movie(tmp_path, preset, moving)
    with Image.open(path) as image:
        picture = np.asarray(image.convert("RGB")).astype(int)
    assert max(np.abs(picture[place] - expected).max() for place, expected in zip(PLACES, PATCHES, strict=True)) <= 3


def test_ffv1_gives_back_exactly_the_frames_it_was_given(tmp_path, make_movie, drifting_frames):
    pictures = list(drifting_frames(0, 2))
    path, _, _ = make_movie(tmp_path, "ffv1", pictures)
    for frame, expected in zip(decoded(path), pictures, strict=True):
        green, blue, red = (np.rint(65535 * plane) for plane in planes(frame))
        assert np.array_equal(np.stack([red, green, blue], axis=-1), expected)


def slope(n: int, size: Size) -> np.ndarray:
    """A dark glow [height, width, 3] in 0..1 that drifts by a pixel and a bit from frame to frame."""
    y, x = np.mgrid[0 : size.height, 0 : size.width]
    away = (x - size.width / 2 - 1.3 * n) ** 2 + (y - size.height / 2 - 0.4 * n) ** 2
    glow = 0.06 + 0.1 * np.exp(-away / 2 / (size.height / 2.8) ** 2)
    return np.stack([1.1 * glow, 0.8 * glow, 1.5 * glow], axis=-1)


@pytest.mark.parametrize("preset", [*TEN, "ffv1"])
@pytest.mark.parametrize("drift", [0, 1])
def test_a_slope_of_a_master_has_no_bands_at_rest_nor_in_motion(tmp_path, preset, drift, make_movie):
    """Luma after a blur over 8 pixels against that of the exact picture, root mean square in steps of 10 bits.

    0.2 is the aim for masters; plain rounding to 8 bits would give 1.15 before the blur. Of a small picture, in which
    there are few blocks to choose from, AV1 would be less exact.
    """
    size = Size(640, 360)
    exact = [slope(drift * n, size) for n in range(12)]
    pictures = [np.rint(65535 * picture).astype(np.uint16) for picture in exact]
    _, segments, _ = make_movie(tmp_path, preset, pictures, cuts=(), size=size)
    errors = []
    for frame, picture in zip(decoded(segments[0]), exact, strict=True):
        wrong = luma(frame) - (64 + 876 * picture @ [0.2126, 0.7152, 0.0722])
        errors.append(np.mean(gaussian_filter(wrong, 8) ** 2))
    assert np.sqrt(np.mean(errors)) <= 0.2


def luma(frame: av.VideoFrame) -> np.ndarray:
    """Luma in steps of 10 bits, limited range."""
    bits, actual = frame.format.components[0].bits, planes(frame)
    if frame.format.name.startswith("gbr"):
        return 64 + 876 * (0.7152 * actual[0] + 0.0722 * actual[1] + 0.2126 * actual[2])
    return actual[0] * (2**bits - 1) / 2 ** (bits - 10)


@pytest.mark.parametrize("preset", ["prores-422hq", "hevc-10"])
def test_chroma_of_ten_bits_stands_on_the_left_pixel_of_each_pair(tmp_path, preset):
    # U along a ramp of blue: sited left, sample i is the blue of pixel 2 i; sited between, of pixel 2 i + 0.5, that is
    # 224 / 255 * 0.5 * 1.5 = 0.66 codes more. The mean of 20 samples tells them apart.
    ramp = np.zeros((64, 80, 3), np.uint16)
    ramp[..., 2] = 3 * 257 * np.arange(80)
    Movie(preset=preset).write_segment([ramp], tmp_path / "ramp", Size(80, 64), FPS)
    u = planes(decoded(tmp_path / "ramp")[0])[1][8:24, 10:30].mean(axis=0) * 1023 / 4
    assert abs((u - (128 + 224 / 255 * 0.5 * 3 * 2 * np.arange(10, 30))).mean()) < 0.33


# --- alpha -----------------------------------------------------------------------------------------------------------


def seen_through() -> np.ndarray:
    """A red square before nothing, half transparent, uint16."""
    picture = np.zeros((SIZE.height, SIZE.width, 4), np.uint16)
    picture[32:96, 64:192] = (65535, 0, 0, 32768)
    return picture


@pytest.mark.parametrize("preset", ["prores-4444", "vp9-alpha"])
def test_alpha_comes_back_from_the_joined_movie(tmp_path, preset, make_movie):
    path, _, _ = make_movie(tmp_path, preset, [seen_through()] * 4, cuts=(2,))
    for frame in decoded(path):
        alpha = 255 * planes(frame)[3]
        assert abs(alpha[64, 128] - 127.5) <= 2 and alpha[8, 8] <= 1  # VP9 is not lossless, in alpha neither
        assert np.abs(rgb_at(frame, 64, 128) - (255, 0, 0)).max() <= 3  # straight: not darkened by its alpha


def test_alpha_comes_back_from_webp(tmp_path, make_movie):
    path, _, _ = make_movie(tmp_path, "webp", [seen_through(), np.roll(seen_through(), 8, axis=1)], alpha=True)
    with Image.open(path) as image:
        alpha = np.asarray(image.convert("RGBA"))[..., 3]
    assert set(alpha[40:90, 70:180].ravel()) <= {127, 128} and not alpha[:24].any()  # half of 255


@pytest.mark.parametrize("preset", ["prores-4444", "vp9-alpha"])
def test_a_movie_that_may_have_alpha_and_shall_not_is_opaque(tmp_path, preset, make_movie, drifting_frames):
    path, _, _ = make_movie(tmp_path, preset, drifting_frames(0, 2), alpha=False)
    assert min(planes(frame)[3].min() for frame in decoded(path)) > 0.995


def test_presets_say_what_pictures_they_are_made_of():
    assert {name for name in PRESETS if Movie(preset=name).picture_spec.alpha} == {"prores-4444", "vp9-alpha"}
    assert {name for name in PRESETS if Movie(preset=name).picture_spec.bits == 8} == {
        "h264-web",
        "h264-archive",
        "vp9-alpha",
        "gif",
        "webp",
    }
    assert Movie(preset="webp", alpha=True).picture_spec == PictureSpec(8, alpha=True)


@pytest.mark.parametrize("preset", sorted(set(PRESETS) - {"prores-4444", "vp9-alpha", "webp"}))
def test_alpha_where_there_can_be_none_is_a_mistake(preset):
    with pytest.raises(ValidationError, match=r"has no alpha.* prores-4444"):
        Movie(preset=preset, alpha=True)


# --- sizes, rates, names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preset", "size", "message"),
    [
        ("hevc-10", Size(127, 72), "nearest is 128x72"),
        ("prores-422hq", Size(127, 71), "nearest is 128x71"),
        ("dnxhr", Size(128, 72), "begins at 256x120"),
        ("av1-10", Size(32, 32), "begins at 64x64"),
        ("hevc-10", Size(15360, 8640), "ends at 8192x4352"),
    ],
)
def test_a_size_that_a_preset_cannot_have_is_a_mistake_with_a_way_out(preset, size, message):
    assert message in Movie(preset=preset).mistake_at(size)


@pytest.mark.parametrize("preset", ["prores-4444", "ffv1", "gif", "webp"])
def test_odd_sizes_are_made_where_they_are_no_mistake(tmp_path, preset, make_movie, drifting_frames):
    size = Size(131, 67)
    assert Movie(preset=preset).mistake_at(size, FPS) is None
    assert make_movie(tmp_path, preset, drifting_frames(0, 3, size), size=size)[2].size == size


def test_a_gif_of_more_than_fifty_frames_a_second_is_a_mistake():
    assert "ends at 50" in Movie(preset="gif").mistake_at(SIZE, Fraction(60))
    assert Movie(preset="gif").mistake_at(SIZE, Fraction(50)) is None


def test_movies_of_every_preset_have_different_names_and_keys():
    movies = [Movie(preset=name) for name in PRESETS]
    assert len({movie.file_name("film") for movie in movies}) == len(PRESETS)
    assert len({json.dumps(movie.identity(), sort_keys=True) for movie in movies}) == len(PRESETS)
    assert Movie(preset="prores-422hq").file_name("film") == "film-prores-422hq.mov"
    assert Movie(preset="gif").file_name("film") == "film.gif"
