"""Checkpoints as other people save them: which are found, of which epoch or step, and how their names are read."""

import argparse
import collections
import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from studio.errors import RunError
from studio.training.checkpoint_files import from_name, survey
from studio.training.import_checkpoints import fit_file


class Net(nn.Module):
    def __init__(self, tied=False):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)
        if tied:
            self.last.weight = self.first.weight


class Thrice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(2, 2, bias=False) for _ in range(3))
        self.a.weight = self.b.weight = self.c.weight


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.netG, self.netD = nn.Linear(2, 3), nn.Linear(3, 1)


def prefixed(state, prefix):
    return {prefix + name: value for name, value in state.items()}


def half(state):
    return {name: value.half() if value.is_floating_point() else value for name, value in state.items()}


NET = Net()
STATE = NET.state_dict()
DOUBLE = {name: 2 * value for name, value in STATE.items()}
ADAM = torch.optim.Adam(NET.parameters())
SETTINGS = {"hparams": argparse.Namespace(lr=0.1, folder=Path("x")), "log": collections.defaultdict(list, a=[1])}
LIGHTNING = {**prefixed(STATE, "model."), "criterion.weight": torch.ones(2)}
FORMATS = {
    "epoch-0.pt": (STATE, {}, ""),
    "1.pth.tar": (
        {"epoch": 1, "state_dict": prefixed(STATE, "module."), "best": 0.5},
        {}, "weights of state_dict; prefix module. dropped from 9 names"),
    "ckpt.t7": (
        {"net": STATE, "epoch": np.int64(2), "acc": np.float64(91.5)},
        {"_use_new_zipfile_serialization": False}, "weights of net"),
    "a.ckpt": (
        {"epoch": 3, "global_step": 90, "state_dict": LIGHTNING, "optimizer_states": [ADAM.state_dict()], **SETTINGS},
        {}, "weights of state_dict; prefix model. dropped from 9 names; left out the tensors of criterion (1)"),
    "b.pt": ({"epoch": 4, "model": STATE, "ema": DOUBLE}, {}, "weights of model; left out the tensors of ema (9)"),
    "epoch_5.th": (prefixed(STATE, "_orig_mod.module."), {}, "prefix _orig_mod.module. dropped from 9 names"),
    "epoch6.bin": (
        {name.replace("first.", "first._orig_mod."): value for name, value in STATE.items()},
        {}, "what wrappers add dropped from 2 names"),
    "swa-epoch-7.pt": (
        torch.optim.swa_utils.AveragedModel(NET).state_dict(),
        {}, "prefix module. dropped from 9 names; left out the tensors of n_averaged (1)"),
    "epoch=8-step=9.pt": (half(STATE), {}, "converted from float16"),
    "whole_epoch_9.pt": (NET, {}, ""),
    "epoch-10.pt": (
        {"meta": {"epoch": 70}, "checkpoint": {"weights": [STATE]}},
        {}, "weights of checkpoint/weights/0"),
}  # fmt: skip


def test_a_folder_of_many_formats_is_read_and_says_what_was_changed_and_left_out(tmp_path):
    for name, (content, options, _) in FORMATS.items():
        torch.save(content, tmp_path / name, **options)
    save_file(STATE, tmp_path / "final.safetensors", metadata={"epoch": "11"})
    torch.save(ADAM.state_dict(), tmp_path / "optimizer-3.pt")
    torch.save(STATE, tmp_path / "best.pt")
    (tmp_path / "readme.pt").write_text("nothing here")
    (tmp_path / "log.txt").touch()
    found = survey(tmp_path)
    assert (found.axis, list(found.files)) == ("epoch", [*range(10), 11, 70])
    read = {file.name: fit_file(file, NET)[1] for file in found.files.values()}
    assert read == {name: change for name, (_, _, change) in FORMATS.items()} | {"final.safetensors": ""}
    assert {name: why.partition(";")[0] for name, why in found.left_out.items()} == {
        "best.pt": "no epoch in the file's name nor inside",
        "log.txt": "no suffix of a checkpoint",
        "optimizer-3.pt": "is not a state dict (names and tensors)",
        "readme.pt": "cannot be read as a torch file: torch.save did not write it",
    }


def read_one(folder, model, weights=None):
    [file] = survey(folder).files.values()
    return fit_file(file, model, weights)


def test_averaged_weights_are_read_where_they_are_asked_for(tmp_path):
    torch.save({"state_dict": {**prefixed(STATE, "net."), **prefixed(DOUBLE, "net_ema.")}}, tmp_path / "1.pt")
    assert torch.equal(read_one(tmp_path, NET)[0]["last.bias"], STATE["last.bias"])
    for word in ("ema", "net_ema"):
        assert torch.equal(read_one(tmp_path, NET, word)[0]["last.bias"], DOUBLE["last.bias"])
    with pytest.raises(RunError, match="1.pt: holds no weights called swa; one of state_dict/net, state_dict/net_ema"):
        read_one(tmp_path, NET, "swa")


def test_two_networks_that_fit_are_told_apart_by_the_user_alone(tmp_path):
    torch.save({"student": STATE, "critic": DOUBLE}, tmp_path / "1.pt")
    with pytest.raises(RunError, match="holds weights that fit in student and critic; .*`weights: student`"):
        read_one(tmp_path, NET)
    assert torch.equal(read_one(tmp_path, NET, "critic")[0]["last.bias"], DOUBLE["last.bias"])


def test_networks_in_parts_of_a_file_make_one(tmp_path):
    pair = Pair()
    state = {"netG": pair.netG.state_dict(), "netD": pair.netD.state_dict(), "optimizerD": ADAM.state_dict()}
    torch.save(state, tmp_path / "1.pt")
    assert read_one(tmp_path, Pair())[0].keys() == pair.state_dict().keys()
    assert read_one(tmp_path, nn.Linear(3, 1))[1].startswith("weights of netD; left out the tensors of netG (2)")


def test_weights_of_a_bare_network_fit_one_that_is_wrapped(tmp_path):
    torch.save(STATE, tmp_path / "1.pt")
    for wrapped in (nn.DataParallel(Net()), nn.ModuleDict({"_orig_mod": Net()}), nn.ModuleDict({"inner": Net()})):
        state, _ = read_one(tmp_path, wrapped)
        assert wrapped.load_state_dict(state).missing_keys == []


def test_tied_weights_may_be_written_once_and_are_one(tmp_path):
    tied = Net(tied=True)
    save_file({n: v for n, v in tied.state_dict().items() if n != "last.weight"}, tmp_path / "1.safetensors")
    state, change = read_one(tmp_path, Net(tied=True))
    assert torch.equal(state["last.weight"], tied.first.weight) and change == "1 tied weights written once"
    save_file({"b.weight": torch.ones(2, 2)}, tmp_path / "1.safetensors")
    assert {*read_one(tmp_path, Thrice())[0]} == {"a.weight", "b.weight", "c.weight"}
    save_file(STATE, tmp_path / "1.safetensors")
    with pytest.raises(RunError, match="first.weight and last.weight are one weight in the model, and two in the file"):
        read_one(tmp_path, Net(tied=True))


@pytest.mark.parametrize("is_sharded", [False, True])
def test_folders_of_checkpoints_by_step_are_read_by_their_index(tmp_path, is_sharded):
    for step in (500, 1000):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        names = dict.fromkeys(STATE, "model.safetensors")
        if is_sharded:
            names = {name: f"model-{number % 2}.safetensors" for number, name in enumerate(STATE)}
            (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
        for shard in set(names.values()):
            save_file({name: STATE[name] for name, of in names.items() if of == shard}, folder / shard)
        torch.save(ADAM.state_dict(), folder / "optimizer.pt")
    for place in (tmp_path, tmp_path / "checkpoint-*"):
        found = survey(place)
        assert (found.axis, list(found.files), len(found.left_out)) == ("step", [500, 1000], 2)
        assert all(fit_file(file, NET)[1] == "" for file in found.files.values())
    if is_sharded:
        (folder / "model-0.safetensors").unlink()
        with pytest.raises(RunError, match="it names model-0.safetensors, which is no such file beside it"):
            survey(tmp_path)


def test_steps_tell_apart_what_epochs_do_not_and_equal_weights_count_once(tmp_path):
    for step in (1, 2):
        torch.save({"epoch": 0, "global_step": step, "w": torch.full((2,), step) * 1.0}, tmp_path / f"{step}.ckpt")
    torch.save({"w": torch.full((2,), 2.0), "epoch": 0, "global_step": 2, "callbacks": {}}, tmp_path / "last.ckpt")
    found = survey(tmp_path)
    assert (found.axis, list(found.files)) == ("step", [1, 2])
    assert found.left_out == {"last.ckpt": "the same weights as 2.ckpt"}


NAMES = {
    "epoch-10.pt": {"epoch": 10}, "model_0.5.pt": {"epoch": 0.5}, "resnet56_epoch_12_acc93.pt": {"epoch": 12},
    "ep7.pt": {"epoch": 7}, "12.pt": {"epoch": 12}, "net.pt": {}, "epoch=3-step=900.ckpt": {"epoch": 3, "step": 900},
    "model.007.pt": {"epoch": 7}, "Epoch 0012.500.pt": {"epoch": 12.5}, "epochs-4.pt": {"epoch": 4},
    "step900.pt": {"step": 900}, "step_1000.pt": {"step": 1000}, "iter_30.pth": {"step": 30},
    "net_10_acc_91.2.pt": {"epoch": 10}, "net_10_val_loss=0.31.pt": {"epoch": 10}, "resnet18_best.pt": {},
    "model3.pth.tar": {"epoch": 3}, "checkpoint-500/model.safetensors": {"step": 500}, "2024-05-01.pt": {},
    "epoch_3/weights.pt": {"epoch": 3}, "run2-epoch_7.5.pt": {"epoch": 7.5},
}  # fmt: skip


@pytest.mark.parametrize(("name", "stands"), NAMES.items())
def test_where_a_file_stands_is_read_from_its_name(name, stands):
    assert {axis: at for axis, (at, _) in from_name(name).items()} == stands


def test_a_pattern_of_the_users_says_where_the_number_stands():
    assert from_name("net_10_91.2.pt", "net_{epoch}_*")["epoch"] == (10, "by the pattern `named`")
    assert from_name("a_7_b_40.pt", "a_*_b_{step}") == {"step": (40, "by the pattern `named`")}


class Command:
    def __reduce__(self):
        return subprocess.Popen, (["true"],)


class Own:
    pass


def test_objects_of_other_packages_are_read_as_what_they_hold_and_code_is_refused(tmp_path, monkeypatch):
    torch.save({"state_dict": STATE, "config": Own()}, tmp_path / "1.pt")
    monkeypatch.delattr(f"{__name__}.Own")  # nothing of it is needed
    assert read_one(tmp_path, NET)[1] == "weights of state_dict"
    torch.save({"state_dict": STATE, "config": Command()}, tmp_path / "2.pt")
    with pytest.raises(RunError, match="Code in a file is never run here: .* asks for commands.Popen"):
        survey(tmp_path)
