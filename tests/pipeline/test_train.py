import pytest

from studio.pipeline.project import Project
from studio.pipeline.train import is_trained, train
from studio.training import checkpoints, recorder

pytestmark = pytest.mark.usefixtures("in_process")


def test_train_returns_the_folder_of_a_run_with_every_checkpoint_and_records_it_in_the_manifest(tiny):
    project = Project.open(tiny)
    assert not is_trained(project)
    (folder,) = train(project)
    assert folder == project.run_folders[0] and is_trained(project)
    assert checkpoints.epochs(folder) == project.scene.run.instants() == (0, 0.5, 1, 1.5, 2)
    assert project.manifest.read()["run"] == list(project.run_digests)


def test_a_run_that_is_on_the_shelf_is_not_trained_again(measured, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr(recorder, "train", refuse)
    assert is_trained(Project.open(measured.scene))
    train(Project.open(measured.scene))
