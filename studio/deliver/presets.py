"""Movie presets: the options ffmpeg gets, and the properties the file must then have.

Frames come as sRGB codes. In YUV they are tagged BT.709, limited range: the convention of the web and of editing rooms,
not of projection (BT.1886). Every segment is closed GOPs from one encoding thread, so that segments can be made
anywhere, in any order, and be joined without encoding again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

from studio.config.units import Size

PresetName = Literal[
    "h264-web",
    "h264-archive",
    "hevc-10",
    "av1-10",
    "prores-422hq",
    "prores-4444",
    "dnxhr",
    "ffv1",
    "vp9-alpha",
    "gif",
    "webp",
]

_ANY_SIZE = Size(1, 1)


@dataclass(frozen=True)
class Preset:
    """One way of encoding. codec, tags (primaries, transfer, matrix, range): as they are read back.

    pixel_format: ffmpeg's name of what is encoded. decoded_format: the other name that decoders may report for it.
    bits: of a channel that matter. multiples: of what width and height must be. max_fps: frames a second. gop_seconds:
    seconds between key frames, None where every frame is one. join_options: ffmpeg's, for joining segments.
    segment_suffix: of a segment, if it is not the file's.
    """

    suffix: str
    container: str
    encoder: str
    codec: str
    pixel_format: str
    options: Mapping[str, Any]
    bits: int = 8
    alpha: bool = False
    tags: tuple[str, str, str, str] = ("bt709", "bt709", "bt709", "tv")
    multiples: tuple[int, int] = (2, 2)
    min_size: Size = _ANY_SIZE
    max_size: Size | None = None
    max_fps: int | None = None
    gop_seconds: int | None = None
    join_options: Mapping[str, Any] = field(default_factory=dict)
    segment_suffix: str = ""
    decoded_format: str = ""

    def encode_options(self, fps: Fraction) -> dict[str, Any]:
        """ffmpeg's options for encoding one segment."""
        timing = {} if self.gop_seconds is None else {"g": round(self.gop_seconds * fps)}
        if self.join_options != _MATROSKA:  # else an mp4's length is in milliseconds, and the next segment comes early
            timing["movie_timescale"] = 1000 * fps.numerator
        filters = f"format={self.pixel_format},{_TAG_RGB}" if self.tags[2] == "gbr" else _yuv(self.pixel_format)
        return {"format": self.container, "vf": filters, "vcodec": self.encoder, "threads": 1, **timing, **self.options}

    def copy_options(self, fps: Fraction) -> dict[str, Any]:
        """ffmpeg's options for joining segments into one file."""
        # Matroska writes its times in whole milliseconds, so those of the segments would drift: they are counted anew.
        times = {"bsf:v": f"setts=ts=round(N*{fps.denominator}/{fps.numerator}/TB)"}
        counted = times if self.join_options == _MATROSKA else {}
        return {"format": self.container, "c": "copy", **self.join_options, **counted}


# The input is named full-range RGB and the output BT.709 inside the filter graph: flags on the output alone leave the
# file untagged and the conversion BT.601, which turns pure red into (255, 25, 0). Chroma is sited left, as in H.264;
# the filter's own default is between the pixels.
_TAG_INPUT = "setparams=range=pc:color_primaries=bt709:color_trc=bt709:colorspace=gbr"
_TAG_OUTPUT = "setparams=range=tv:color_primaries=bt709:color_trc=bt709:colorspace=bt709"
_TAG_RGB = "setparams=range=pc:color_primaries=bt709:color_trc=iec61966-2-1:colorspace=gbr"


def _yuv(pixel_format: str) -> str:
    if pixel_format.endswith("10le"):
        # zscale: the scale filter's way into 10 bits is 0.35 % too steep, so that white would become 943, not 940.
        planes = "gbrap16le" if "yuva" in pixel_format else "gbrp16le"
        scale = f"format={planes},zscale=matrix=709:range=limited:chromal=left:filter=bicubic:dither=ordered"
    else:
        siting = "out_h_chr_pos=0:out_v_chr_pos=128"
        scale = f"scale=out_color_matrix=bt709:out_range=tv:{siting}:flags=bicubic+accurate_rnd+full_chroma_int"
    return f"{_TAG_INPUT},{scale},format={pixel_format},{_TAG_OUTPUT}"


_FASTSTART = {"movflags": "+faststart"}
# Without it, Matroska gives every file a random number.
_MATROSKA = {"fflags": "+bitexact"}
# Editing rooms begin at the first hour.
_MOV = {"movflags": "+faststart+use_metadata_tags", "timecode": "01:00:00:00"}
_LEVEL_6 = Size(8192, 4352)

# veryfast: a quarter of medium's time on grained 1080p frames, the same SSIM for no more bits; on faint grain up to two
# thirds more bits, for a higher SSIM.
_X264 = {"preset": "veryfast", "crf": 15, "profile:v": "high", "x264-params": "open-gop=0"}
_APPLE = {"profile:v": "hq", "vendor": "apl0"}
_FFV1 = {"level": 3, "g": 1, "slices": 4, "slicecrc": 1, **_MATROSKA}

_H264 = Preset(
    ".mp4", "mp4", "libx264", "h264", "yuv420p", _X264, gop_seconds=2, max_size=_LEVEL_6, join_options=_FASTSTART
)
_PRORES = Preset(
    ".mov", "mov", "prores_ks", "prores", "yuv422p10le", _APPLE, bits=10, multiples=(2, 1), join_options=_MOV
)
_SRGB = ("bt709", "iec61966-2-1", "gbr", "pc")
_LOSSLESS = Preset(
    ".mkv", "matroska", "ffv1", "ffv1", "bgra", _FFV1, alpha=True, tags=_SRGB, multiples=(1, 1), join_options=_MATROSKA
)

PRESETS: dict[PresetName, Preset] = {
    "h264-web": _H264,
    "h264-archive": replace(_H264, gop_seconds=1, options=_X264 | {"preset": "medium", "crf": 8}),
    "hevc-10": replace(
        _H264,
        encoder="libx265",
        codec="hevc",
        pixel_format="yuv420p10le",
        options={
            "preset": "medium",
            "crf": 12,
            "profile:v": "main10",
            "tag:v": "hvc1",
            # aq-mode 3 spends more on the dark, where bands are seen: 0.6 of the error there, for 1.5 of the bits.
            # bframes=0: segments of one frame have no order to change, and would not join exactly with those that have.
            # hash=1: a checksum of every picture, without which a decoder does not notice what is damaged.
            "x265-params": "log-level=error:pools=none:frame-threads=1:open-gop=0:info=0:aq-mode=3:bframes=0:hash=1",
        },
        bits=10,
        join_options=_FASTSTART | {"tag:v": "hvc1"},
    ),
    "av1-10": replace(
        _H264,
        encoder="libsvtav1",
        codec="av1",
        pixel_format="yuv420p10le",
        # enable-tf=0: no filter over time, which takes grain for noise. enable-variance-boost: more for what is nearly
        # flat, where bands are seen. With crf 8, and without it, a slope that moves is off by 0.21 of a step of 10
        # bits, so by 0.17; grained 1080p takes as many bits as hevc-10, in 0.4 of the time.
        options={"preset": 5, "crf": 6, "svtav1-params": "lp=1:irefresh-type=2:enable-tf=0:enable-variance-boost=1"},
        bits=10,
        min_size=Size(64, 64),
    ),
    "prores-422hq": _PRORES,
    "prores-4444": replace(
        _PRORES,
        pixel_format="yuva444p10le",
        options=_APPLE | {"profile:v": "4444", "alpha_bits": 16},
        alpha=True,
        decoded_format="yuva444p12le",
        multiples=(1, 1),
    ),
    "dnxhr": replace(
        _PRORES, encoder="dnxhd", codec="dnxhd", options={"profile:v": "dnxhr_hqx"}, min_size=Size(256, 120)
    ),
    "ffv1": replace(_LOSSLESS, pixel_format="gbrp16le", bits=16, alpha=False),
    "vp9-alpha": Preset(
        ".webm",
        "webm",
        "libvpx-vp9",
        "vp9",
        "yuva420p",
        {"crf": 18, "b:v": 0, "deadline": "good", "cpu-used": 3, "row-mt": 0, "auto-alt-ref": 0, **_MATROSKA},
        alpha=True,
        decoded_format="yuv420p",
        gop_seconds=2,
        max_size=_LEVEL_6,
        join_options=_MATROSKA,
    ),
    # A palette is of the whole film, and an animated picture is no stream: their segments are lossless, and encoded
    # when they are joined.
    "gif": replace(_LOSSLESS, suffix=".gif", segment_suffix=".mkv", alpha=False, max_fps=50),
    "webp": replace(_LOSSLESS, suffix=".webp", segment_suffix=".mkv"),
}
