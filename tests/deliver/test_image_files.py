"""Picture files: the pixels that were drawn, tagged with their colours and their provenance, or nothing."""

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from studio.config.units import Size, Time
from studio.deliver import colour_spaces, image_files
from studio.deliver.picture_spec import Picture
from studio.deliver.sequence import Sequence
from studio.deliver.still import Still
from studio.errors import MachineError
from studio.film.bands import Bands

SIZE = Size(31, 17)
FORMATS = ["png", "png16", "tiff16", "jpg", "exr"]
LOSSLESS = ["png", "png16", "tiff16", "exr"]


def read_profile(path: Path) -> bytes:
    with Image.open(path) as image:
        return image.info["icc_profile"]


@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("format_name", LOSSLESS)
def test_every_bit_comes_back(tmp_path, format_name, alpha, noise, still, read_pixels):
    frame = noise(5, Still(at=Time(6.0), format=format_name, alpha=alpha).picture_spec)
    assert np.array_equal(read_pixels(still(tmp_path, frame, format=format_name, alpha=alpha)), frame)


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_picture_is_the_same_file_in_whatever_bands_it_comes(tmp_path, format_name, noise, banded, still):
    record = Still(at=Time(6.0), format=format_name, profile="adobe-rgb")
    tall, files = noise(5, record.picture_spec, Size(9, 600)), set()  # 256 rows are written at once
    for rows in (64, 100, 512, 600):
        (tmp_path / str(rows)).mkdir()
        files.add(still(tmp_path / str(rows), banded(tall, rows), format=format_name, profile="adobe-rgb").read_bytes())
    assert len(files) == 1


@pytest.mark.parametrize("format_name", ["png", "png16", "tiff16", "exr"])
def test_a_large_picture_is_written_and_handed_over_in_little_memory(tmp_path, format_name, noise, still, read_pixels):
    spec, size = Still(at=Time(6.0), format=format_name).picture_spec, Size(1500, 4000)
    rows = noise(5, spec, Size(1500, 250))
    tall = Bands((*size[::-1], 3), spec.dtype, lambda: (rows for _ in range(16)))
    tracemalloc.start()
    try:
        path = still(tmp_path, tall, format=format_name)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.65 * size.width * size.height * 3 * spec.dtype.itemsize  # of 16 bands, what ten hold
    assert np.array_equal(read_pixels(path)[-250:], rows)


def test_a_png_of_eight_bits_is_what_pillow_reads_of_it(tmp_path, still):
    tall = np.random.default_rng(0).integers(0, 256, (600, 40, 3), np.uint8)  # three bands of rows
    tall[100:300] = np.arange(200)[:, None, None]
    with Image.open(still(tmp_path, tall)) as image:
        assert np.array_equal(np.asarray(image), tall)


def test_a_png_of_sixteen_bits_is_what_pillow_sees_of_it(tmp_path, still):
    tall = np.random.default_rng(0).integers(0, 65536, (300, 40, 3), np.uint16)  # two bands of rows
    tall[100:200] = np.arange(100)[:, None, None] * 300
    path = still(tmp_path, tall, format="png16")
    with Image.open(path) as image:
        assert np.array_equal(np.asarray(image.convert("RGB")), tall >> 8)  # Pillow keeps the upper bytes


@pytest.mark.parametrize("profile", colour_spaces.SPACES)
@pytest.mark.parametrize("format_name", FORMATS)
def test_a_still_is_converted_to_its_profile_and_tagged_with_it(tmp_path, format_name, profile, still, read_pixels):
    dtype = Still(at=Time(6.0), format=format_name, profile=profile).picture_spec.dtype
    most = {"u": 256**dtype.itemsize - 1, "f": 3.5}[dtype.kind]
    flat = np.full((32, 48, 3), np.multiply((1, 0.5, 0.125), most).astype(dtype))
    path = still(tmp_path, flat, format=format_name, profile=profile, dpi=300)
    if format_name == "exr":
        expected, slack = colour_spaces.convert_linear(flat, profile), 0
    else:
        eighths = format_name in ("png", "jpg")
        expected = colour_spaces.convert(flat, profile) / (257 if eighths and flat.dtype == np.uint16 else 1)
        slack = {"png": 1, "jpg": 3}.get(format_name, 0)
        assert read_profile(path) == colour_spaces.icc(profile)
    assert np.abs(read_pixels(path).astype(float) - expected).max() <= slack
    options = image_files.ImageOptions(format=format_name, profile=profile, dpi=300)
    image_files.add_metadata(path, path.with_stem("copy"), options, Size(48, 32), {})  # which refuses another profile
    with pytest.raises(MachineError, match="profile is"):
        other = options.model_copy(update={"profile": next(name for name in colour_spaces.SPACES if name != profile)})
        image_files.add_metadata(path, path.with_stem("copy"), other, Size(48, 32), {})


@pytest.mark.parametrize("format_name", FORMATS)
def test_dots_per_inch_are_read_by_others(tmp_path, format_name, still):
    path = still(tmp_path, format=format_name, dpi=300)
    if format_name == "exr":
        import OpenEXR

        with OpenEXR.File(str(path), header_only=True) as file:
            assert file.header()["xDensity"] == 300
    else:
        with Image.open(path) as image:
            assert image.info["dpi"] == pytest.approx((300, 300), abs=0.01)  # a PNG counts whole pixels to the metre


def test_light_beyond_white_survives_in_an_exr(tmp_path, still, read_pixels):
    path = still(tmp_path, format="exr")
    assert read_pixels(path).dtype == np.float16 and read_pixels(path).max() > 7


@pytest.mark.parametrize("alpha", [False, True])
def test_an_exr_holds_every_aov_in_channels_that_name_it(
    tmp_path, alpha, still, read_provenance, noise_with_aovs, aov_channels
):
    import OpenEXR

    options = {"format": "exr", "aovs": list(aov_channels), "alpha": alpha}
    frame = noise_with_aovs(Still(at=Time(6.0), **options).picture_spec)
    path = still(tmp_path, frame, **options)
    with OpenEXR.File(str(path), separate_channels=True) as file:
        channels = {name: channel.pixels for name, channel in file.channels().items()}
    assert set(channels) == {*("RGBA" if alpha else "RGB"), *itertools.chain(*aov_channels.values())}
    assert np.array_equal(np.stack([channels[c] for c in ("RGBA" if alpha else "RGB")], -1), frame.picture.to_array())
    for name, own in aov_channels.items():
        stored = np.stack([channels[channel] for channel in own], axis=-1)
        assert stored.dtype == frame.aovs[name].dtype and np.array_equal(stored, frame.aovs[name])
    assert read_provenance(path) == {"frame": 144}


def test_an_exr_of_many_bands_is_one_picture_with_its_aovs(tmp_path, noise, banded, still):
    import OpenEXR

    options = {"format": "exr", "aovs": ["depth", "normal"], "alpha": True}
    spec, random = Still(at=Time(6.0), **options).picture_spec, np.random.default_rng(2)
    tall = noise(5, spec, Size(9, 700))  # in two whole bands of 256 rows, and one that ends in half a block
    aovs = {
        "depth": random.normal(size=(700, 9, 1)).astype(np.float32),
        "normal": random.normal(size=(700, 9, 3)).astype(np.float16),
    }
    path = still(tmp_path, Picture(banded(tall, 100), aovs), **options)
    with OpenEXR.File(str(path), separate_channels=True) as file:
        channels = {name: channel.pixels for name, channel in file.channels().items()}
        assert [list(end) for end in file.header()["dataWindow"]] == [[0, 0], [8, 699]]
    assert np.array_equal(np.stack([channels[c] for c in "RGBA"], axis=-1), tall)
    assert np.array_equal(channels["depth.Z"], aovs["depth"][..., 0])
    assert np.array_equal(np.stack([channels[f"normal.{c}"] for c in "XYZ"], axis=-1), aovs["normal"])
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_dir()] == []


def test_aovs_that_would_fill_the_memory_are_a_mistake_with_a_way_out(aov_channels):
    everything = {"format": "exr", "aovs": tuple(aov_channels)}
    for record in (Still(at=Time(6.0), **everything), Sequence(**everything)):
        assert record.mistake_at(Size(15360, 8640)) is None
        # 32 bytes a pixel, of 600 million
        assert "would take 19 GB of memory" in record.mistake_at(Size(30000, 20000))
    assert Still(at=Time(6.0), format="exr", aovs=("depth", "normal")).mistake_at(Size(30000, 20000)) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "jpg", "alpha": True}, "jpg has no alpha; take one of png, png16, tiff16, exr"),
        ({"format": "tiff16", "aovs": ["depth"]}, "tiff16 has no AOVs; take `format: exr`"),
        ({"format": "exr", "aovs": ["depth", "depth"]}, "named twice"),
    ],
)
def test_a_still_that_no_file_could_hold_is_a_mistake(options, message):
    with pytest.raises(ValidationError, match=message):
        Still(at=Time(6.0), **options)


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_long_provenance_comes_back_and_changes_no_pixel(tmp_path, format_name, still, read_pixels, read_provenance):
    provenance = {"slices": ["\u00c9" * 50] * 100}
    (tmp_path / "short").mkdir()
    first, second = still(tmp_path, None, provenance, format=format_name), still(tmp_path / "short", format=format_name)
    assert read_provenance(first) == provenance and np.array_equal(read_pixels(first), read_pixels(second))


@pytest.mark.parametrize("format_name", FORMATS)
def test_the_same_frame_gives_the_same_bytes(tmp_path, format_name, still):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    first, second = (still(tmp_path / name, format=format_name, profile="adobe-rgb") for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_damaged_file_gets_no_metadata(tmp_path, format_name, still):
    path = still(tmp_path, format=format_name)
    path.write_bytes(path.read_bytes()[:-20])
    target = tmp_path / f"copy{path.suffix}"
    with pytest.raises(MachineError, match=r"is no whole picture of 31x17 .*; remove it and run again"):
        image_files.add_metadata(path, target, image_files.ImageOptions(format=format_name), SIZE, {})


def test_a_wide_gamut_png_says_nothing_of_srgb(tmp_path, still):
    data = still(tmp_path, profile="display-p3").read_bytes()
    assert b"iCCP" in data and not [name for name in (b"sRGB", b"gAMA", b"cHRM", b"cICP") if name in data]
