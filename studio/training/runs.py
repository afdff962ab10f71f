"""Training runs as records: trained here by a recipe, or checkpoints that the user trained.

    run -> the instants of its checkpoints, its digest, a folder with all of them

A new kind of run is a record with the methods of `RecipeRun`, in the union at the foot.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator

from studio.config.records import BY_KIND, Record
from studio.config.units import ScenePath
from studio.field import Axis
from studio.training import checkpoints
from studio.training.recipe import Recipe

if TYPE_CHECKING:
    from studio.training.recorder import Progress


AXIS = Axis("epoch")
"""Of the checkpoints of runs that are trained by epochs."""


class RecipeRun(Record):
    """A run that is trained here.

    recipe: how it is trained.
    """

    kind: Literal["recipe"] = "recipe"
    recipe: Recipe

    @property
    def axis(self) -> Axis:
        """What the checkpoints are counted in."""
        return AXIS

    def instants(self) -> tuple[float, ...]:
        """The epochs at which the run has, or will have, a checkpoint, ascending."""
        return self.recipe.instants

    def digest(self, data_digest: str) -> str:
        """The run's digest. data_digest: of the recipe's data."""
        return checkpoints.recipe_digest(self.recipe, data_digest)

    def make(self, folder: Path, progress: Progress) -> None:
        """Trains into a run folder; continues where an earlier call stopped. Raises as `recorder.train` does."""
        from studio.training import recorder

        recorder.train(self.recipe, folder, progress)


class FolderRun(Record):
    """A run that the user trained; nothing is trained here.

    checkpoints: the folder of its weights. recipe: whose model and data the weights belong to; nothing else in it
    counts.
    """

    kind: Literal["folder"] = "folder"
    checkpoints: ScenePath
    recipe: Recipe

    @property
    def axis(self) -> Axis:
        """What the checkpoints are counted in."""
        return AXIS

    def instants(self) -> tuple[float, ...]:
        """The epochs in the files' names, ascending. Raises RunError if the folder cannot be used."""
        return tuple(checkpoints.user_files_by_epoch(self.checkpoints))

    def digest(self, data_digest: str) -> str:
        """The run's digest, from the files' bytes. Raises RunError if there are none."""
        return checkpoints.folder_digest(self.checkpoints, self.recipe, data_digest)

    def make(self, folder: Path, progress: Progress) -> None:
        """Imports the checkpoints into a run folder. Raises as `import_checkpoints` does."""
        from studio.training.import_checkpoints import import_checkpoints

        import_checkpoints(self.checkpoints, self.recipe, folder)


def _with_kind(value: Any) -> Any:
    """The kind is `recipe` where none is said."""
    if not isinstance(value, dict) or "kind" in value:
        return value
    if "checkpoints" in value:
        raise ValueError("a run of your own checkpoints is a kind: write `kind: folder` beside `checkpoints`")
    return {"kind": "recipe", **value}


# the discriminator alone: no kind of run is a bare word
Run = Annotated[RecipeRun | FolderRun, BY_KIND[0], BeforeValidator(_with_kind)]
