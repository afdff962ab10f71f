"""Which loss the landscape shows: of how many training images, and how the network is run on them."""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from ..errors import RunError
from ..spec import Record

if TYPE_CHECKING:
    import numpy as np

    from ..training.data import Data


def _subset(given: int | str) -> int | str:
    """A count as a number, a share as text such as `5%`."""
    text = str(given).strip()
    try:
        if text.endswith("%"):
            if 0 < float(text[:-1]) <= 100:
                return f"{float(text[:-1]):g}%"
        elif int(text) > 0:
            return int(text)
    except ValueError:
        pass
    raise ValueError(f"'{given}' is not a number of images; write it like 128 or 5%")


Subset = Annotated[int | str, BeforeValidator(_subset), WithJsonSchema(
    {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"^[\d.]+%$"}]})]


class Loss(Record):
    """The mean cross-entropy over a fixed subset of the training images.

    subset: a count or a share of the images, the first of a shuffle by `seed`. mode: `eval` normalises by the run's
    own running statistics; `train` by those of the whole subset as one batch, with one fixed dropout mask.
    """

    subset: Subset = "100%"
    seed: int = Field(0, ge=0)
    mode: Literal["eval", "train"] = "eval"

    def samples(self, data: "Data") -> "np.ndarray":
        """Indices of the images that are used. Raises RunError if the data holds fewer."""
        import numpy as np
        total = len(data.train_y)
        share = isinstance(self.subset, str)
        count = max(1, round(float(self.subset[:-1]) / 100 * total)) if share else self.subset
        if count > total:
            raise RunError(f"loss.subset: {count} images are asked for, the training set holds {total}")
        return np.random.default_rng(self.seed).permutation(total)[:count]
