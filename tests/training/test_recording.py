"""Recording a loop of the user's own: what is written, when, and what is refused."""

import json
import os
import subprocess
import sys
from time import sleep

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from studio.errors import MachineError, RunError, SceneError
from studio.training import checkpoints, recording
from studio.training.import_checkpoints import import_checkpoints
from studio.training.recipe import Recipe
from studio.training.recording import Recorder, Schedule


class Net(nn.Module):
    def __init__(self, width=3):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(2, width), nn.BatchNorm1d(width), nn.Linear(width, 2)
        self.tied = self.first.weight
        self.register_buffer("unsaved", torch.zeros(9), persistent=False)


def network(seed=0, width=3):
    torch.manual_seed(seed)
    return Net(width)


def train(net, recorder, steps, metrics=lambda step: {"loss": 1 / (1 + step), "lr": 0.1}):
    """Steps that follow from the weights alone, as those of a run that goes on do."""
    for _ in range(steps):
        with torch.no_grad():
            for weight in net.parameters():
                weight.mul_(0.9).add_(0.01)
        recorder.step(**metrics(recorder.number))


def run(folder, count=12, seed=0, **options):
    with Recorder(folder, net := network(seed), **{"steps": 5, **options}) as recorder:
        train(net, recorder, count)
    return net


def files(folder):
    """{name: content}, without the checksums of notes, which are of their places too."""
    notes = {path.name: json.loads(path.read_text()) for path in folder.glob("*.json")}
    plain = {name: {key: note[key] for key in note if key != "checksum"} for name, note in notes.items()}
    return plain | {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


def marks(folder):
    return sorted(float(path.stem.partition("-")[2]) for path in folder.glob("*-*.json"))


def by_log(per_decade, until):
    return sorted({step for k in range(200) if (step := -(-(10 ** (k / per_decade)) // 1)) <= until} | {0, until})


SCHEDULES = {
    "steps": ({"steps": 7}, [0, 7, 14, 21, 28, 30]),
    "steps of epochs": ({"steps": 7, "steps_per_epoch": 8}, [0, 0.875, 1.75, 2.625, 3.5, 3.75]),
    "epochs": ({"epochs": 0.3, "steps_per_epoch": 10}, [0, 0.3, 0.6, 0.9, 1.2, 1.5, 1.8, 2.1, 2.4, 2.7, 3]),
    "every epoch": ({"steps_per_epoch": 7.5}, [0, 1.067, 2, 3.067, 4]),
    "log": ({"per_decade": 3}, by_log(3, 30)),
    "by default log": ({}, by_log(10, 30)),
    "an hour": ({"minutes": 60}, [0, 30]),
    "no time": ({"minutes": 1e-9}, list(range(31))),
    "thousandths of an epoch": ({"steps": 1, "steps_per_epoch": 7000}, [0, 0.001, 0.002, 0.003, 0.004]),
}


@pytest.mark.parametrize(("options", "instants"), SCHEDULES.values(), ids=SCHEDULES.keys())
def test_a_run_is_recorded_at_its_first_and_last_step_and_by_its_schedule(tmp_path, options, instants):
    run(tmp_path / "run", 30, **{"steps": None, **options})
    assert marks(tmp_path / "run") == instants
    assert {path.name.partition("-")[0] for path in (tmp_path / "run").glob("*-*")} == {
        "epoch" if "steps_per_epoch" in options else "step"
    }


@pytest.mark.parametrize("schedule", [{"steps": 9}, {"epochs": 0.1}, {"epochs": 3}, {"per_decade": 7}, {}])
def test_the_next_step_of_a_schedule_does_not_depend_on_where_one_comes_from(schedule):
    follows = [Schedule(**schedule).following(step, 13) for step in range(300)]
    planned = sorted(set(follows))
    assert follows == [next(at for at in planned if at > step) for step in range(300)]


def test_a_scene_reads_what_is_recorded_and_its_metrics(tmp_path):
    recipe = Recipe(model={"kind": "vgg", "widths": [2, 3]})
    net = recipe.model.build((1, 8, 8), 10, 0)
    with Recorder(tmp_path / "mine", net, steps_per_epoch=4) as recorder:
        train(net, recorder, 6, lambda step: {"lr": torch.tensor(0.5 / (1 + step), requires_grad=True), "val/x": 2})
    (tmp_path / "mine").rename(tmp_path / "moved")
    torch.save(net.state_dict(), tmp_path / "moved" / "epoch-0009.000.safetensors")  # being written: it has no mark
    import_checkpoints(tmp_path / "moved", recipe, tmp_path / "run")
    assert checkpoints.epochs(tmp_path / "run") == (0, 1, 1.5)
    last, metrics = checkpoints.load(tmp_path / "run", 1.5), checkpoints.metrics(tmp_path / "run")
    state = net.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in {**last.weights, **last.buffers}.items())
    assert metrics["learning_rate"] == pytest.approx((0.5, 0.5 / 4, 0.5 / 6)) and metrics["val_x"] == (2, 2, 2)
    names = checkpoints.recorded_names((tmp_path / "moved").glob("epoch-000[01]*"))
    assert set(names) == {"learning_rate", "val_x", "step"} and "test_loss" in metrics


def test_what_a_recorder_noted_is_refused_where_it_is_damaged(tmp_path):
    run(tmp_path / "run")
    mark = tmp_path / "run" / "step-00000005.json"
    mark.write_text('{"metrics": {"loss": "low"}}')
    with pytest.raises(RunError, match="step-00000005.json: is not what a recorder writes: could not convert string"):
        checkpoints.recorded_metrics(mark.with_suffix(".safetensors"))
    assert checkpoints.recorded_names((tmp_path / "run").glob("*.safetensors")) == ()


def test_a_run_that_was_killed_and_goes_on_leaves_the_files_of_one_that_was_not(tmp_path):
    plain = run(tmp_path / "plain", 23)
    script = "from test_recording import *\nr = Recorder(sys.argv[1], net := network(), steps=5)\n"
    script += "train(net, r, 13)\nr._pending[-1].result() if r._pending else None\nos._exit(9)\n"
    paths = os.pathsep.join([os.path.dirname(__file__), *map(os.path.abspath, sys.path)])
    killed = subprocess.run([sys.executable, "-c", script, tmp_path / "mine"], env={**os.environ, "PYTHONPATH": paths})
    assert killed.returncode == 9 and marks(tmp_path / "mine") == [0, 5, 10]
    assert not checkpoints.has_ended(tmp_path / "mine")
    train(net := network(), Recorder(tmp_path / "elsewhere", net, steps=100), 7)
    with Recorder(tmp_path / "mine", net, start=7, steps=5) as recorder:
        train(net, recorder, 16)
    assert files(tmp_path / "mine") == files(tmp_path / "plain")
    assert torch.equal(net.first.weight, plain.first.weight)


def test_what_an_earlier_attempt_recorded_goes_where_training_passes_it_and_stays_elsewhere(tmp_path):
    run(tmp_path / "run", 12, steps=2)
    train(net := network(), Recorder(tmp_path / "elsewhere", net), 3)
    with Recorder(tmp_path / "run", net, start=3, steps=4) as recorder:
        train(net, recorder, 6)
    assert marks(tmp_path / "run") == [0, 2, 4, 8, 9, 10, 12]


REFUSED = {
    "another start": (lambda folder: run(folder, seed=1), r"step-00000000.safetensors: is of another run, which began"),
    "another model": (lambda folder: Recorder(folder, network(width=4)), "is of another model; give another folder"),
    "another model later": (lambda folder: Recorder(folder, network(width=4), start=5), "is of another model"),
    "another axis": (lambda folder: run(folder, steps_per_epoch=2), "checkpoints are of steps, these of epochs; give"),
    "two schedules": (lambda folder: run(folder, minutes=1), "steps and minutes are ways to say when"),
    "no schedule": (lambda folder: run(folder, steps=0), "steps=0: expected a number above 0"),
    "no epochs": (
        lambda folder: run(folder, steps=None, epochs=1),
        "epochs=1: say how long one is: steps_per_epoch=len",
    ),
    "no number": (
        lambda folder: train(network(), Recorder(folder, network(), start=1), 9, lambda step: {"loss": "low"}),
        "the metric loss of the recorder is no number: 'low'",
    ),
}


@pytest.mark.parametrize(("act", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_what_does_not_belong_into_the_folder_is_refused_in_a_sentence(tmp_path, act, message):
    run(tmp_path)
    before = {name: content for name, content in files(tmp_path).items() if name != checkpoints.RECORDING}
    with pytest.raises((RunError, SceneError), match=message):
        act(tmp_path)
        run(tmp_path)
    assert before.items() <= files(tmp_path).items()


def test_the_loop_waits_rather_than_hold_many_checkpoints_and_none_is_lost(tmp_path, monkeypatch):
    save, ahead = checkpoints.save, []

    def slow(*arguments):
        sleep(0.02)
        ahead.append(recorder.number - len(ahead))
        save(*arguments)

    monkeypatch.setattr(checkpoints, "save", slow)
    with Recorder(tmp_path, net := network(), steps=1) as recorder:
        train(net, recorder, 20)
    assert max(ahead) == recording.MOST_PENDING and marks(tmp_path) == list(range(21))


def test_what_fails_while_it_is_written_is_said_at_the_next_step_and_at_the_end(tmp_path, monkeypatch):
    def full(*arguments):
        raise MachineError("the disk is full")

    recorder = Recorder(tmp_path, net := network(), steps=1)
    monkeypatch.setattr(checkpoints, "save", full)
    with pytest.raises(MachineError, match="the disk is full"):
        train(net, recorder, 50)
    with pytest.raises(MachineError, match="the disk is full"), Recorder(tmp_path, net := network()) as recorder:
        recorder.step()
    with pytest.raises(KeyError) as error, Recorder(tmp_path, net := network()):
        raise KeyError("the user's own")
    assert error.value.__notes__ == ["the disk is full"]


def test_an_interrupted_loop_finishes_what_it_began_and_records_nothing_more(tmp_path):
    with pytest.raises(KeyboardInterrupt), Recorder(tmp_path, net := network(), steps=5) as recorder:
        train(net, recorder, 12)
        raise KeyboardInterrupt
    assert marks(tmp_path) == [0, 5, 10]
    assert not checkpoints.has_ended(tmp_path)


def test_of_several_processes_the_first_writes(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own, of its compiler
def test_wrappers_leave_no_trace_and_tied_weights_are_written_once(tmp_path):
    run(tmp_path / "plain", 0)
    with Recorder(tmp_path / "wrapped", torch.compile(nn.DataParallel(network())), steps=5):
        pass
    assert files(tmp_path / "wrapped") == files(tmp_path / "plain")
    norm = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    names = {"tied", "first.bias", "last.weight", "last.bias", *(f"norm.{name}" for name in norm)}
    written = load_file(tmp_path / "plain" / "step-00000000.safetensors")
    assert {name.partition("/")[2] for name in written} == names


def test_a_model_in_parts_is_refused(tmp_path):
    class Part(torch.Tensor):
        def full_tensor(self):
            return self

    net = network()
    net.last.weight = nn.Parameter(torch.zeros(2, 3).as_subclass(Part))
    with pytest.raises(RunError, match=r"last.weight is in parts on several devices; record a model that"):
        Recorder(tmp_path, net)
