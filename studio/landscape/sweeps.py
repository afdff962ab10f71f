"""What changes from key to key of the film: each sweep turns what a run holds into an ordered list of coordinates."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, WithJsonSchema

from studio.config.records import BY_KIND, Record
from studio.errors import SceneError


def _keys(given: str | Iterable) -> str | tuple[float, ...]:
    """`all`, or epochs in ascending order, each once."""
    if given == "all":
        return given
    try:
        if isinstance(given, str):
            raise ValueError(given)
        keys = tuple(sorted({round(float(key), 3) for key in given}))
    except (TypeError, ValueError):
        raise ValueError(f"{given!r} is not understood; write all, or epochs like [0, 2, 6]") from None
    if not keys:
        raise ValueError("an empty list of epochs; write all, or epochs like [0, 2, 6]")
    return keys


EpochList = Annotated[
    Literal["all"] | tuple[float, ...],
    BeforeValidator(_keys),
    WithJsonSchema({"anyOf": [{"const": "all"}, {"type": "array", "items": {"type": "number"}, "minItems": 1}]}),
]


def select(at: EpochList, available: Sequence[float]) -> tuple[float, ...]:
    """The epochs that `at` names, ascending. Raises SceneError for those the run does not have."""
    if at == "all":
        return tuple(available)
    return tuple(require_epoch(epoch, available) for epoch in at)


def require_epoch(epoch: float, available: Sequence[float]) -> float:
    """The epoch, if the run has it. Raises SceneError with the nearest that it has."""
    if epoch in available:
        return epoch
    nearest = sorted(sorted(available, key=lambda other: abs(other - epoch))[:2])
    raise SceneError(
        f"epoch {epoch:g}: the run has no checkpoint there; "
        f"the nearest it has: {', '.join(f'{e:g}' for e in nearest) or 'none'}"
    )


class Epochs(Record):
    """The run itself: one slice at every checkpoint, or at those listed; the coordinate is the epoch."""

    former: ClassVar[Mapping[str, str]] = {"keys": "at"}

    kind: Literal["epochs"] = "epochs"
    at: EpochList = "all"

    def coordinates(self, available: Sequence[float]) -> tuple[float, ...]:
        """Epochs of the slices, ascending, out of those the run has."""
        return select(self.at, available)


# one kind as yet: a union needs two before it can be told by its kind
Sweep = Annotated[Epochs, *BY_KIND[1:]]
