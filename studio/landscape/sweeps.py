"""What changes from keyframe to keyframe of the film: a sweep turns a run into an ordered list of coordinates.

    coordinates: epochs of the run's checkpoints -> coordinates of the keyframes

A new sweep is a record with `coordinates`, in the union at the foot.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, WithJsonSchema

from studio.config.records import BY_KIND, Record
from studio.errors import SceneError


def _parse_epochs(value: str | Iterable[float | str]) -> str | tuple[float, ...]:
    """`all`, or epochs in ascending order, each once."""
    if value == "all":
        return "all"
    try:
        if isinstance(value, str):
            raise ValueError(value)
        epochs = tuple(sorted({round(float(epoch), 3) for epoch in value}))
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not understood; write all, or epochs like [0, 2, 6]") from None
    if not epochs:
        raise ValueError("an empty list of epochs; write all, or epochs like [0, 2, 6]")
    return epochs


EpochList = Annotated[
    Literal["all"] | tuple[float, ...],
    BeforeValidator(_parse_epochs),
    WithJsonSchema({"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "number"}, "minItems": 1}]}),
]
"""`all`, or epochs, ascending and rounded to thousandths."""


def select(at: EpochList, available: Sequence[float]) -> tuple[float, ...]:
    """The epochs that `at` names, ascending. Raises SceneError for those the run does not have."""
    if at == "all":
        return tuple(available)
    return tuple(require_epoch(epoch, available) for epoch in at)


def require_epoch(epoch: float, available: Sequence[float]) -> float:
    """The epoch itself. Raises SceneError, naming the nearest that exist, if the run does not have it."""
    if epoch in available:
        return epoch
    nearest = sorted(sorted(available, key=lambda other: abs(other - epoch))[:2])
    raise SceneError(
        f"epoch {epoch:g}: the run has no checkpoint there; "
        f"the nearest it has: {', '.join(f'{e:g}' for e in nearest) or 'none'}"
    )


class Epochs(Record):
    """The run's own checkpoints: one slice at each, or at those listed. The coordinate is the epoch.

    at: `all`, or a list of epochs.
    """

    former: ClassVar[Mapping[str, str]] = {"keys": "at"}

    kind: Literal["epochs"] = "epochs"
    at: EpochList = "all"

    def coordinates(self, available: Sequence[float]) -> tuple[float, ...]:
        """Epochs of the slices, ascending. Raises SceneError for epochs that are not `available` in the run."""
        return select(self.at, available)


# pydantic's discriminator needs two kinds: with the second, write Annotated[Epochs | Other, *BY_KIND]
Sweep = Annotated[Epochs, *BY_KIND[1:]]
