"""The number of epochs: a longer training continues a shorter one. Notes on trainings and models
that are probably not as intended."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from support.example import load_example
from support.project import write_prepared

from stages.params.families import Dense
from stages.params.recipe import Train
from stages.storage import files
from stages.storage.prepared import Prepared
from stages.training import backend, run
from stages.training.experiment import Experiment, locate_finished

OPTIONS = load_example()
CLASSES, SIDE = 3, 6
backend.start(OPTIONS.train.threads)

import keras  # noqa: E402

from stages.training import notes  # noqa: E402

pytestmark = pytest.mark.usefixtures("step_by_step")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    random = np.random.default_rng(3)
    parts = {
        part: (random.integers(0, 256, (45, SIDE, SIDE, 1), np.uint8), np.arange(45) % CLASSES)
        for part in ("train", "validation", "test")
    }
    return write_prepared(tmp_path_factory.mktemp("prepared"), parts, CLASSES)


def recipe(**changes) -> Train:
    stopping = OPTIONS.train.early_stopping.model_copy(update={"patience": None})
    fixed = {"batch_size": 10, "early_stopping": stopping}
    return OPTIONS.train.model_copy(update=fixed | changes)


def train(prepared: Prepared, folder: Path, **changes) -> list[str]:
    """Train in `folder`; the digests of the model and the history."""
    network = Dense(family="dense", units=[8], activation="relu", batch_norm="after", dropout=0.3)
    experiment = Experiment("small", 1, network, OPTIONS.augment, recipe(**changes))
    keras.utils.clear_session()  # layers are numbered from the start, as in a new process
    run.run(experiment, prepared, folder, folder / "checkpoint.npz")
    run.keep_last_state(folder / "checkpoint.npz")
    return [files.sha256(folder / name) for name in ("model.keras", "history.csv")]


@pytest.fixture(scope="module")
def four(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """The folder of a training of four epochs, and its digests."""
    folder = tmp_path_factory.mktemp("four")
    return folder, train(prepared, folder, epochs=4)


def test_a_training_continued_to_more_epochs_has_the_bits_of_one_that_had_them_at_once(
    prepared: Prepared, four: tuple[Path, list[str]], tmp_path: Path, capsys: pytest.CaptureFixture
):
    def continues(**changes) -> tuple[bool, list[str]]:
        """Whether the training continued an earlier one, and its digests."""
        capsys.readouterr()
        digests = train(prepared, tmp_path / "short", **changes)
        return "resuming after epoch" in capsys.readouterr().out, digests

    whole = train(prepared, tmp_path / "whole", epochs=5)
    assert not continues(epochs=3)[0]
    assert continues(epochs=5) == (True, whole)
    assert continues(epochs=5) == (False, whole)  # as with `dvc repro --force`: from the start
    assert continues(epochs=4) == (False, four[1])
    assert not continues(epochs=5, batch_size=9)[0]


@pytest.mark.parametrize("wanted", [{"epochs": 2}, {"epochs": 4, "batch_size": 9}])
def test_the_checkpoint_of_a_longer_or_different_training_is_not_resumed(
    prepared: Prepared, four: tuple[Path, list[str]], tmp_path: Path, wanted: dict
):
    whole = train(prepared, tmp_path / "whole", **wanted)
    shutil.copytree(four[0], tmp_path / "other")
    checkpoint = tmp_path / "other/checkpoint.npz"
    locate_finished(checkpoint).rename(checkpoint)  # as if it had been stopped
    assert train(prepared, tmp_path / "other", **wanted) == whole


def test_a_schedule_of_another_length_than_the_training_is_noted(capsys: pytest.CaptureFixture):
    def noted(epochs: int, name: str = "CosineDecay", **arguments) -> bool:
        arguments = {"initial_learning_rate": 0.1, **arguments}
        train = recipe(epochs=epochs, schedule=name, schedule_arguments=arguments)
        notes.warn_of_schedule(train, batches=10)
        return "train.schedule_arguments" in capsys.readouterr().err

    assert noted(7, decay_steps=50) and noted(4, decay_epochs=5) and not noted(5, decay_epochs=5)
    assert not noted(5, decay_steps=46)  # within the last epoch
    assert noted(5, decay_epochs=5, warmup_epochs=1, warmup_target=0.2)
    assert noted(7, "PolynomialDecay", decay_epochs=5)
    assert not noted(7, "ExponentialDecay", decay_epochs=1, decay_rate=0.9)
    notes.warn_of_schedule(recipe(), batches=10)
    assert capsys.readouterr().err == ""


def test_gradients_accumulated_for_longer_than_the_training_are_noted(
    capsys: pytest.CaptureFixture,
):
    def noted(steps: int) -> bool:
        gathering = recipe(epochs=3, optimizer_arguments={"gradient_accumulation_steps": steps})
        notes.warn_of_steps(gathering, batches=10)
        return "gradient_accumulation_steps" in capsys.readouterr().err

    assert noted(31) and not noted(30)


@pytest.mark.parametrize(
    ("last", "expected"),
    [
        ([], False),
        ([keras.layers.Dropout(0.5)], False),
        ([keras.layers.Softmax()], True),
        ([keras.layers.Dense(4, "softmax")], True),
        ([keras.layers.Activation("softmax"), keras.layers.Dropout(0.5)], True),
    ],
)
def test_a_softmax_before_the_added_classifier_is_noted(
    last: list[keras.Layer], expected: bool, capsys: pytest.CaptureFixture
):
    layers = [keras.Input((8,)), keras.layers.Dense(4, "relu"), *last]
    network = keras.Sequential([*layers, keras.layers.Dense(4, "softmax")])
    notes.warn_of_second_softmax(keras.Model(network.inputs, network.outputs))
    assert ("softmax" in capsys.readouterr().err) == expected


def test_a_model_no_better_than_chance_is_noted(capsys: pytest.CaptureFixture):
    labels = np.repeat([0, 1], [60, 40])
    notes.warn_of_chance("one", 0.65, labels)  # 0.6 ± 0.05
    assert "chance" in capsys.readouterr().err
    notes.warn_of_chance("one", 0.75, labels)
    assert capsys.readouterr().err == ""


def test_a_model_that_knows_only_its_training_images_is_noted(
    tmp_path: Path, capsys: pytest.CaptureFixture
):
    history = tmp_path / "history.csv"
    history.write_text("epoch,accuracy,val_accuracy\n1,0.5,0.55\n2,0.75,0.7\n3,0.95,0.72\n")
    notes.warn_of_overfitting("one", history, 2, 0.7)
    assert capsys.readouterr().err == ""
    notes.warn_of_overfitting("one", history, 3, 0.72)
    assert capsys.readouterr().err
