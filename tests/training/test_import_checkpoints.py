import io
import os
import pickle
import warnings
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from studio.errors import RunError
from studio.training import checkpoints
from studio.training.import_checkpoints import import_checkpoints
from studio.training.objectives import OutputLoss
from studio.training.recipe import Recipe

RECIPE = Recipe(model={"kind": "vgg", "widths": [2, 3]})


def network(seed=0):
    return RECIPE.model.build((1, 8, 8), 10, seed)


def state(seed=0):
    return network(seed).state_dict()


@pytest.fixture
def user_folder(tmp_path):
    (tmp_path / "user").mkdir()
    return tmp_path / "user"


def import_from(user_folder):
    run_folder = user_folder.parent / "run"
    import_checkpoints(user_folder, RECIPE, run_folder)
    return run_folder


WRAPPED = {
    "plain": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3, "acc": 0.5},
    "model": lambda s: {"model": s, "optimizer": {"state": {}}},
    "data parallel": lambda s: {"state_dict": {f"module.{name}": value for name, value in s.items()}},
    "double": lambda s: {name: value.double() for name, value in s.items()},
    "without counters": lambda s: {name: value for name, value in s.items() if "num_batches" not in name},
}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED.keys())
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
def test_a_torch_file_becomes_a_checkpoint_however_it_is_wrapped(user_folder, wrap, suffix):
    torch.save(wrap(state()), user_folder / f"epoch-3{suffix}")
    run_folder = import_from(user_folder)
    loaded, expected = checkpoints.load(run_folder, 3), state()
    assert all(torch.equal(value, expected[name]) for name, value in {**loaded.weights, **loaded.buffers}.items())
    assert set(checkpoints.metrics(run_folder)) == {"train_loss", "train_accuracy", "test_loss", "test_accuracy"}


def test_epochs_come_from_the_names_and_metrics_from_each_file(user_folder):
    save_file(state(0), user_folder / "net_10.safetensors")
    torch.save(state(1), user_folder / "net_2.5.pt")
    (user_folder / "notes.txt").write_text("not a checkpoint")
    run_folder = import_from(user_folder)
    assert checkpoints.epochs(run_folder) == (2.5, 10.0)
    early, late = checkpoints.metrics(run_folder)["train_loss"]
    assert early != late


def test_metrics_are_the_means_over_all_images_in_eval_mode(user_folder):
    torch.save(state(), user_folder / "1.pt")
    data, model = RECIPE.data.load(), network().eval()
    with torch.no_grad():
        logits, y = model(torch.from_numpy(data.test_x)), torch.from_numpy(data.test_y)
    means = {name: values[0] for name, values in checkpoints.metrics(import_from(user_folder)).items()}
    # float32 sums of 360 terms in another order
    assert means["test_loss"] == pytest.approx(torch.nn.functional.cross_entropy(logits, y).item(), rel=1e-5)
    assert means["test_accuracy"] == pytest.approx(100 * (logits.argmax(1) == y).double().mean().item())


def test_an_epoch_that_is_imported_already_is_not_imported_again(user_folder):
    torch.save(state(), user_folder / "1.pt")
    run_folder = import_from(user_folder)
    before = (run_folder / "epoch-0001.000.safetensors").stat().st_mtime_ns
    import_from(user_folder)
    assert (run_folder / "epoch-0001.000.safetensors").stat().st_mtime_ns == before


def test_the_users_folder_stays_as_it_was(user_folder):
    torch.save(state(), user_folder / "1.pt")
    before = {path.name: path.read_bytes() for path in user_folder.iterdir()}
    import_from(user_folder)
    assert before == {path.name: path.read_bytes() for path in user_folder.iterdir()}


class Malice:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize(
    "write", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value, 2))], ids=["torch", "bare pickle"]
)
def test_code_in_a_checkpoint_is_refused_and_not_run(user_folder, write):
    mark = user_folder / "ran"
    write({"state_dict": state(), "extra": Malice(mark)}, user_folder / "epoch-1.pt")
    with pytest.raises(RunError, match="epoch-1.pt: holds more than tensors, .* Code in a file is never run"):
        import_from(user_folder)
    assert not mark.exists()
    torch.load(user_folder / "epoch-1.pt", weights_only=False) if write is torch.save else pickle.loads(
        (user_folder / "epoch-1.pt").read_bytes()
    )
    assert mark.exists()  # the test can fail: this file does run code if allowed


def without(name):
    return {n: value for n, value in state().items() if n != name}


def changed(change):
    with warnings.catch_warnings(action="ignore"):  # torch deprecates what other people's files still hold
        return {**state(), "0.weight": change(state()["0.weight"])}


ODD = [
    (lambda w: w.to_sparse(), "sparse, expected a dense tensor of numbers"),
    (lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8), "quantised"),
    (lambda w: w.to("meta"), "without values"),
    (lambda w: torch.nested.nested_tensor([w[0], w[1, :, :2]]), "nested, expected a dense tensor"),
    (lambda w: w.to(torch.complex64), "of complex64, expected real numbers"),
    (lambda w: w.long(), "of int64, expected real numbers"),
    (lambda w: w.double() * 1e300, "not finite, expected numbers that float32 holds"),
    (lambda w: w * torch.nan, "not finite"),
    (lambda w: w[:, :0], "2x0x3x3, expected 2x1x3x3"),
    (lambda w: torch.ones(1).expand(2**40), "1099511627776, expected 2x1x3x3"),
]


def test_float8_weights_are_read_exactly(user_folder):
    torch.save(changed(lambda w: w.to(torch.float8_e4m3fn)), user_folder / "1.pt")
    expected = state()["0.weight"].to(torch.float8_e4m3fn).float()
    assert torch.equal(checkpoints.load(import_from(user_folder), 1).weights["0.weight"], expected)


def torch_archive(pickled, **more):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in {"data.pkl": pickled, "version": b"3\n", **more}.items():
            archive.writestr(f"a/{name}", content)
    return stream.getvalue()


HUNDRED_GB = b"\x80\x02cbuiltins\nbytearray\n\x8a\x06" + (10**11).to_bytes(6, "little") + b"\x85R."


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a text", "epoch-1.pt: "),
        (HUNDRED_GB, "holds more than tensors, or is broken"),
        (torch_archive(HUNDRED_GB), "holds more than tensors, or is broken"),
        (
            torch_archive(b"\x80\x02}.", zeros=bytes(2**26)),
            "bytes unpack to 67108.*, expected at most 100 times as many",
        ),
        (b"\x80\x02" + b"]" * 2**21, "holds more than tensors, or is broken"),
    ],
)
def test_a_file_that_is_no_checkpoint_or_asks_for_much_is_refused_at_once(user_folder, content, words):
    (user_folder / "epoch-1.pt").write_bytes(content)
    with pytest.raises(RunError, match=words) as caught:
        import_from(user_folder)
    assert len(str(caught.value)) < 600 and str(caught.value).isprintable()


def test_a_file_that_changes_after_its_run_was_named_is_not_imported(user_folder, monkeypatch):
    torch.save(state(0), user_folder / "1.pt")
    monkeypatch.setattr(
        checkpoints, "write_run_file", lambda *_: torch.save(state(1), user_folder / "1.pt")
    )  # between the two reads
    with pytest.raises(RunError, match="1.pt: changed while it was imported; run again"):
        import_from(user_folder)


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        (without("0.weight"), "0.weight is missing"),
        ({**state(), "extra.bias": torch.zeros(1)}, "extra.bias is not in the model"),
        ({**state(), "0.weight": torch.zeros(2, 1, 5, 5)}, "0.weight is 2x1x5x5, expected 2x1x3x3"),
        ({}, "is not a state dict"),
        ({"0.bias": torch.zeros(2)}, "0.weight is missing.*and .* more"),
        ({"epoch": 3}, "is not a state dict"),
        ([1, 2], "is not a state dict"),
        ({7: torch.ones(1)}, "is not a state dict"),
        ({**state(), "module.0.weight": torch.zeros(2, 1, 3, 3)}, "module.0.weight is not in the model"),
        ({**state(), "a\n\ud800" + "n" * 10**5: torch.ones(1)}, r"a\\n\\ud800n+ is not in the model$"),
        *((changed(change), f"0.weight is {words}") for change, words in ODD),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_a_checkpoint_that_does_not_fit_says_where(user_folder, state, complaint):
    torch.save(state, user_folder / "epoch-1.pt")
    with pytest.raises(RunError, match=f"epoch-1.pt: .*{complaint}"):
        import_from(user_folder)
    assert checkpoints.epochs(user_folder.parent / "run") == ()


@pytest.mark.parametrize("name", ["1.pt", "1.safetensors"])
@pytest.mark.parametrize("length", [0, 40, 400])
def test_a_truncated_file_is_named(user_folder, name, length):
    (save_file if name.endswith("safetensors") else torch.save)(state(), user_folder / name)
    (user_folder / name).write_bytes((user_folder / name).read_bytes()[:length])
    with pytest.raises(RunError, match=f"{user_folder / name}: "):
        import_from(user_folder)


def test_names_without_an_epoch_or_with_the_same_one_are_refused(user_folder):
    torch.save(state(), user_folder / "best.pt")
    with pytest.raises(RunError, match="best.pt: no epoch in the file's name nor inside; name it like epoch-10.pt"):
        import_from(user_folder)
    (user_folder / "best.pt").unlink()
    for name in ("epoch-1.pt", "epoch-1.0.pth"):
        torch.save(state(len(name)), user_folder / name)
    with pytest.raises(RunError, match="has epoch 1 too .*, and other weights; keep one of them"):
        import_from(user_folder)


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_without_checkpoints_says_what_it_expected(user_folder, exists):
    folder = user_folder if exists else user_folder / "nowhere"
    with pytest.raises(RunError, match=f"{folder}: no checkpoints here; expected files named by epoch"):
        import_checkpoints(folder, RECIPE, user_folder.parent / "run")


def test_metrics_are_of_the_runs_own_objective(user_folder):
    regressor = RECIPE.model.build((1, 8, 8), 1)  # one output for the digit, a number
    torch.save(regressor.state_dict(), user_folder / "epoch-3.pt")
    import_checkpoints(user_folder, RECIPE, user_folder.parent / "run", OutputLoss(kind="mean-squares"))
    recorded, data = checkpoints.metrics(user_folder.parent / "run"), RECIPE.data.load()
    with torch.no_grad():
        outputs = regressor.eval()(torch.from_numpy(data.test_x))[:, 0].double()
    expected = (outputs - torch.from_numpy(data.test_y)).square().mean().item()
    # float32 outputs, in other batches
    assert set(recorded) == {"train_loss", "test_loss"} and recorded["test_loss"][0] == pytest.approx(
        expected, rel=1e-5
    )
