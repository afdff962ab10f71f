"""Runs as records: trained here by a recipe, checkpoints that the user trained, or surfaces that the user measured.

    run -> the instants of its checkpoints, its digest, a folder with all of them

A new kind of run is a record in the union at the foot. Every run has `axis` and `instants`; one with a
network, in `NetworkRun`, has the keys and methods of `RecipeRun` too, and is trained or imported, then measured.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from studio.config.records import BY_KIND, Record, digest, merge
from studio.config.units import ScenePath
from studio.config.user_files import readable
from studio.errors import RunError, SceneError
from studio.field import Axis
from studio.training import checkpoints
from studio.training.checkpoint_files import Survey, has_place, survey
from studio.training.data import DataSet
from studio.training.models import Model
from studio.training.objectives import CROSS_ENTROPY, Objective, margin_name
from studio.training.recipe import MOVE_ALL, Patterns, Recipe
from studio.training.surfaces_file import SurfacesFile, read_surfaces

if TYPE_CHECKING:
    from torch import nn

    from studio.training.recorder import Progress


class OfNetwork(Record):
    """What a run with a network has, however that was trained."""

    axis: ClassVar = Axis(name="epoch")
    recipe: Recipe

    def instants(self) -> tuple[float, ...]:
        """The epochs at which the run has, or will have, a checkpoint, ascending."""
        return self.recipe.instants

    @property
    def recorded(self) -> tuple[str, ...]:
        """Names of the metrics that training itself records."""
        return ("learning_rate",)

    def keys(self, part: str) -> tuple[str, ...]:
        """The path of keys in a scene to a part of the recipe, such as `data`."""
        return ("run", str(getattr(self, "kind", "")), "recipe", part)


class Start(Record):
    """A checkpoint of another run, from which a run starts. epoch: of it. recipe: the other run's, trained alike."""

    epoch: float = Field(ge=0)
    recipe: Recipe


class RecipeRun(OfNetwork):
    """A run that is trained here.

    recipe: how it is trained. objective: what is minimised; its metrics are recorded at every checkpoint.
    parameters: the weights that the landscape moves, as patterns of their names such as `layers.[0-7].*`; all others
    keep their checkpoint's values. Training moves all. from: another run, at one of whose checkpoints this one starts,
    with an optimizer that is new; its recipe is this one's but for the keys that stand there, such as
    `{epoch: 5, recipe: {optimizer: {kind: sgd}}}`.
    """

    kind: Literal["recipe"] = "recipe"
    objective: Objective = CROSS_ENTROPY
    parameters: Patterns = MOVE_ALL
    from_: Start | None = Field(None, alias="from", exclude_if=lambda start: start is None)

    @model_validator(mode="before")
    @classmethod
    def _complete_start(cls, value: Any) -> Any:
        """Adds the run's own keys to those of the recipe that it starts from."""
        if not isinstance(value, dict) or not isinstance(start := value.get("from"), dict):
            return value
        return {**value, "from": {**start, "recipe": merge(value.get("recipe", {}), start.get("recipe") or {})}}

    @model_validator(mode="after")
    def _starts_at_a_checkpoint(self) -> Self:
        if self.from_:
            start = self.from_
            if start.recipe.model != self.recipe.model:
                raise ValueError("from: the two recipes have other models; the weights of one do not fit the other")
            if start.epoch not in start.recipe.instants:
                near = min(start.recipe.instants, key=lambda epoch: abs(epoch - start.epoch))
                raise ValueError(f"from: its run has no checkpoint at epoch {start.epoch:g}; the nearest is {near:g}")
            if start.epoch not in self.recipe.instants or start.epoch >= self.recipe.epochs:
                raise ValueError(
                    f"from: this run goes on at epoch {start.epoch:g}, which must be one of its own checkpoints before "
                    f"its last, {self.recipe.epochs}; change `checkpoint` or `epochs` of its recipe"
                )
        return self

    @property
    def recorded(self) -> tuple[str, ...]:
        """Names of the metrics that training itself records, its margin over a baseline among them."""
        margin = margin_name(self.recipe.data, self.objective)
        return ("learning_rate", *([margin] if margin else []))

    @property
    def parent(self) -> RecipeRun | None:
        """The run that this one starts from."""
        return self.model_copy(update={"recipe": self.from_.recipe, "from_": None}) if self.from_ else None

    @property
    def parent_digest(self) -> str:
        """The digest of that run; an empty text without one."""
        return self.parent.digest(self.parent.recipe.data.load().digest) if self.parent else ""

    def instants(self) -> tuple[float, ...]:
        """The epochs of the checkpoints, ascending from the first."""
        return tuple(at for at in self.recipe.instants if self.from_ is None or at >= self.from_.epoch)

    def digest(self, data_digest: str) -> str:
        """The run's digest. data_digest: of the recipe's data."""
        own = checkpoints.recipe_digest(self.recipe, self.objective.trained, data_digest)
        return digest("continued", 1, own, self.parent_digest, self.from_.epoch) if self.from_ else own

    def make(self, folder: Path, progress: Progress) -> None:
        """Trains into a run folder; continues where an earlier call stopped. Raises as `recorder.train` does.

        The folder of the run that it starts from lies beside its own.
        """
        from studio.training import recorder

        setup = None
        if self.from_:
            origin = checkpoints.load(folder.parent / self.parent_digest, self.from_.epoch)

            def start(model: nn.Module) -> None:
                named = {**dict(model.named_parameters()), **dict(model.named_buffers())}
                tensors = {**origin.weights, **origin.buffers}
                if {name: t.shape for name, t in named.items()} != {name: t.shape for name, t in tensors.items()}:
                    raise SceneError("run.from: the weights there have other names or shapes than this run's")
                for name, tensor in tensors.items():
                    named[name].data.copy_(tensor)

            data_digest = self.recipe.data.load().digest
            setup = recorder.Setup(self.digest(data_digest), start, first_epoch=self.from_.epoch)
        recorder.train(self.recipe, folder, progress, self.objective.trained, setup)


class FolderRun(OfNetwork):
    """A run that the user trained; nothing is trained here.

    checkpoints: the folder of its weights, or a pattern of files such as `runs/mine/*.ckpt`. model, data: what the
    weights belong to. recipe: the same, in place of both; nothing else in it counts. named: where the epoch or the step
    stands in names, such as `net_{epoch}_acc*`. weights: which ones of a file that has several, such as `ema`.
    objective, parameters: as of a run that is trained here.
    """

    kind: Literal["folder"] = "folder"
    checkpoints: ScenePath
    recipe: Recipe = Recipe()
    model: Model | None = None
    data: DataSet | None = None
    named: Annotated[str, Field(max_length=200), AfterValidator(has_place)] | None = None
    weights: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    objective: Objective = CROSS_ENTROPY
    parameters: Patterns = MOVE_ALL

    @model_validator(mode="after")
    def _has_model_and_data(self) -> Self:
        if self.model and self.data:
            if "recipe" in self.model_fields_set:
                raise ValueError("a run has `model` and `data`, or a recipe with both; take one of the two out")
            object.__setattr__(self, "recipe", Recipe(model=self.model, data=self.data))
        elif self.model or self.data or "recipe" not in self.model_fields_set:
            raise ValueError("a run of your own checkpoints says what they belong to: write `model` and `data`")
        return self

    def keys(self, part: str) -> tuple[str, ...]:
        """The keys of its `model` or `data`."""
        return ("run", self.kind, part) if self.model else super().keys(part)

    @property
    def survey(self) -> Survey:
        """Its files. Raises RunError if the folder cannot be used."""
        return survey(self.checkpoints, self.named)

    @property
    def axis(self) -> Axis:  # type: ignore[override]  # of the files
        """Of epochs, or of steps where only these tell all files apart."""
        try:
            return Axis(name=self.survey.axis)
        except RunError:  # `instants` says it
            return Axis(name="epoch")

    def instants(self) -> tuple[float, ...]:
        """Where the files stand on the axis, ascending. Raises RunError if the folder cannot be used."""
        return tuple(self.survey.files)

    @property
    def recorded(self) -> tuple[str, ...]:
        """Names of the metrics that a recorder noted."""
        return checkpoints.recorded_names(file.paths[0] for file in self.survey.files.values())

    def digest(self, data_digest: str) -> str:
        """The run's digest, from the files' bytes. Raises RunError if there are none."""
        return checkpoints.folder_digest(self.survey.hashes, self.recipe, self.objective, data_digest, self.weights)

    def make(self, folder: Path, progress: Progress) -> None:
        """Imports the checkpoints into a run folder. Raises as `import_checkpoints` does."""
        from studio.training.import_checkpoints import import_checkpoints

        import_checkpoints(self.checkpoints, self.recipe, folder, self.objective, self.named, self.weights)


class SurfacesRun(Record):
    """Surfaces that the user measured; nothing is trained or measured here, and the grid is the file's.

    file: an .npz file (numpy.savez) of `coordinate` [K], `alpha` [A] and `beta` [B], ascending, the last two in even
    steps; `loss` [K, B, A]; perhaps other drawable fields [K, B, A], such as `accuracy` or `lambda_min`, and metrics
    [K] for the live line, by name. Or the same as an xarray dataset (.nc, .zarr), whose third axis has any name; as a
    table (.csv) with these columns; or a surface of Li et al. (.h5), or a folder of them. axis: what the coordinates
    are.
    """

    kind: Literal["surfaces"] = "surfaces"
    file: Annotated[ScenePath, readable(read_surfaces)]
    axis: Axis = Axis()

    @property
    def content(self) -> SurfacesFile:
        """What the file holds. Raises RunError if it changed and does not fit any more."""
        return read_surfaces(self.file)

    def instants(self) -> tuple[float, ...]:
        """The coordinates of the file, ascending."""
        return self.content.coordinates


def recipe_run(run: Run, purpose: str, **changes: Any) -> RecipeRun:
    """The run, with keys of its recipe changed. Raises SceneError, with the purpose, if it is not trained here."""
    if not isinstance(run, RecipeRun):
        raise SceneError(f"only a run with a recipe can be {purpose}")
    return run.model_copy(update={"recipe": run.recipe.model_copy(update=changes)})


def _with_kind(value: Any) -> Any:
    """The kind is `recipe` where none is said."""
    if not isinstance(value, dict) or "kind" in value:
        return value
    if "checkpoints" in value:
        raise ValueError("a run of your own checkpoints is a kind: write `kind: folder` beside `checkpoints`")
    if "file" in value:
        raise ValueError("surfaces of your own are a kind of run: write `kind: surfaces` beside `file`")
    return {"kind": "recipe", **value}


# the discriminator alone: no kind of run is a bare word
NetworkRun = Annotated[RecipeRun | FolderRun, BY_KIND[0], BeforeValidator(_with_kind)]
Run = Annotated[RecipeRun | FolderRun | SurfacesRun, BY_KIND[0], BeforeValidator(_with_kind)]
