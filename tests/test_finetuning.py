"""Fine-tuning of pre-trained networks: what learns in which phase, features that are computed once,
and equal bits after an interruption in either phase."""

import copy
import dataclasses
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
from support.example import load_example
from support.networks import TINY
from support.project import write_prepared

from stages.metrics.measures import measure_model
from stages.params.families import Application, FineTuning
from stages.params.recipe import Train
from stages.params.schema import Augment
from stages.runtime.errors import UserError
from stages.storage import files
from stages.storage.prepared import Prepared
from stages.training import backend
from stages.training.experiment import Experiment, Pretrained, find_pretrained

backend.start(threads=2)

import keras  # noqa: E402

from stages.training import checkpoint, finetuning, fitting, network, run, saving  # noqa: E402

pytestmark = pytest.mark.usefixtures("step_by_step")
OPTIONS = load_example()
SIDE, CLASSES = 32, 3
TUNING = TINY["fine_tuning"] | {"head_epochs": 3}


@pytest.fixture(scope="module", autouse=True)
def two_blocks() -> Iterator[None]:
    """MobileNet ends after two of its thirteen blocks."""
    whole = keras.applications.MobileNet

    def shorten(*arguments, **options) -> keras.Model:
        base = whole(*arguments, **options)
        features = keras.layers.GlobalAveragePooling2D()(base.get_layer("conv_pw_2_relu").output)
        return keras.Model(base.input, features)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras.applications, "MobileNet", shorten)
        yield


@pytest.fixture(scope="module")
def start(two_blocks: None, tmp_path_factory: pytest.TempPathFactory) -> Pretrained:
    """Weights of a small MobileNet, as the stage `weights` writes them."""
    from keras.src.legacy.saving import legacy_h5_format

    folder = tmp_path_factory.mktemp("weights")
    keras.utils.set_random_seed(1)
    base = keras.applications.MobileNet(
        alpha=0.25, weights=None, include_top=False, input_shape=(SIDE, SIDE, 3)
    )
    # statistics of batch norm that keep signals alive through all layers
    images = np.random.default_rng(1).uniform(-1, 1, (8, SIDE, SIDE, 3)).astype(np.float32)
    norms = [layer for layer in base.layers if isinstance(layer, keras.layers.BatchNormalization)]
    for layer in norms:
        layer.momentum = 0.0
    base(images, training=True)
    with h5py.File(folder / "weights.h5", "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, base)
    files.write_json(folder / "source.json", {"sha256": files.sha256(folder / "weights.h5")})
    return find_pretrained(folder)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """40 + 20 + 20 images of three classes, each with a brightness of its own."""
    random, parts = np.random.default_rng(0), {}
    for part, count in (("train", 40), ("validation", 20), ("test", 20)):
        labels = np.arange(count) % CLASSES
        images = random.integers(0, 100, (count, SIDE, SIDE, 3)) + 70 * labels[:, None, None, None]
        parts[part] = images.astype(np.uint8), labels
    preprocess = {"normalisation": "unit"}
    return write_prepared(
        tmp_path_factory.mktemp("prepared"), parts, CLASSES, preprocess=preprocess
    )


def experiment(start: Pretrained, tuning: dict | None = None, **recipe) -> Experiment:
    values = OPTIONS.train.model_dump() | {"epochs": 2, "batch_size": 16, "learning_rate": 0.001}
    return Experiment(
        name="tiny",
        seed=5,
        architecture=Application(**TINY | {"fine_tuning": TUNING | (tuning or {})}),
        augment=Augment(**OPTIONS.augment.model_dump() | {"horizontal_flip": True}),
        train=Train(**values | recipe),
        pretrained=start,
    )


def digests(folder: Path) -> dict[str, str]:
    names = ("model.keras", "predictions.npz", "history.csv", "training.json")
    return {name: files.sha256(folder / name) for name in names}


def train(tiny: Experiment, prepared: Prepared, folder: Path) -> None:
    keras.utils.clear_session()  # layers are numbered from the start, as in a new process
    run.run(tiny, prepared, folder, folder / "checkpoint.npz")
    run.keep_last_state(folder / "checkpoint.npz")


def fit(tiny: Experiment, prepared: Prepared, folder: Path) -> dict:
    """Train without saving the model; returns the content of training.json."""
    built = network.build_network(tiny, prepared)
    return fitting.train_network(tiny, built, prepared, folder, folder / "checkpoint.npz")[0]


@pytest.fixture(scope="module")
def whole(start, prepared, tmp_path_factory) -> Path:
    """The folder of a training that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    train(experiment(start), prepared, folder)
    return folder


def test_the_history_has_both_phases_and_checkpoints_are_deleted(whole: Path):
    history = pd.read_csv(whole / "history.csv")
    assert history["epoch"].tolist() == [1, 2, 3, 4, 5]
    assert files.read_json(whole / "training.json")["pretrained"]["head_epochs"] == 3
    assert not list(whole.glob("checkpoint*"))


def test_the_normalisation_is_the_networks_own_whatever_other_models_have(whole: Path):
    assert files.read_json(whole / "training.json")["preprocess"]["normalisation"] == "none"


def test_the_head_is_validated_on_the_validation_images(start, prepared, tmp_path: Path):
    train(experiment(start, {"layers": "none"}), prepared, tmp_path)
    kept = files.read_json(tmp_path / "training.json")["kept_epoch"]
    logged = pd.read_csv(tmp_path / "history.csv", index_col="epoch").loc[kept, "val_loss"]
    predicted = np.load(tmp_path / "predictions.npz")["validation"]
    labels = prepared.labels("validation")
    loss = -np.log(predicted[np.arange(len(labels)), labels]).mean()
    assert loss == pytest.approx(logged, rel=1e-4)


def test_the_learning_rate_of_the_metrics_is_that_of_fine_tuning(whole: Path, prepared):
    metrics, *_ = measure_model("tiny", whole, prepared, OPTIONS.evaluate)
    assert TUNING["head_learning_rate"] > metrics["learning_rate"] == 0.001


def test_a_model_that_cannot_be_saved_leaves_no_file(start, prepared, tmp_path: Path, monkeypatch):
    model = network.build_network(experiment(start), prepared).model
    monkeypatch.setattr(saving, "rewrite", lambda *paths: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        saving.save(model, tmp_path / "model.keras")
    assert not list(tmp_path.iterdir())


class Interrupted(Exception):
    pass


def test_an_interruption_in_either_phase_changes_no_bit(
    start, prepared, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    done = checkpoint.Checkpoint.on_epoch_end
    for epochs in (2, 4):  # during the head's phase, and during fine-tuning

        def stop(self, epoch, logs=None, epochs=epochs):
            done(self, epoch, logs)
            if len(self.history) == epochs:
                raise Interrupted

        with monkeypatch.context() as patched, pytest.raises(Interrupted):
            patched.setattr(checkpoint.Checkpoint, "on_epoch_end", stop)
            train(experiment(start), prepared, tmp_path)
    train(experiment(start), prepared, tmp_path)
    assert digests(tmp_path) == digests(whole)


def test_an_optimizer_that_copies_the_weights_keeps_what_the_head_learnt(
    start, prepared, tmp_path: Path
):
    recipe = {"optimizer": "schedulefreeadamw", "learning_rate": 1e-9, "epochs": 1}
    fit(experiment(start, {"layers": "conv_pw_2"}, **recipe), prepared, tmp_path)
    history = pd.read_csv(tmp_path / "history.csv")
    before, after = history["loss"].iloc[[2, 3]]  # the head's last epoch, and the next
    assert abs(after - before) < 0.5 * abs(after - history["loss"].iloc[0])


def test_features_are_computed_once_and_equal_the_networks_output(
    start, prepared, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    model = network.build_network(experiment(start), prepared).model
    base, _ = finetuning.split_head(model)
    kept = np.load(whole / "features" / "train.npy")
    expected = base.predict(prepared.images("train"), batch_size=250, verbose=0)
    assert np.array_equal(kept, expected)

    def fail(*arguments):
        raise AssertionError("the features are computed again")

    monkeypatch.setattr(finetuning, "write_features", fail)
    other = experiment(start, {"head_learning_rate": 0.1, "layers": "none"}, learning_rate=0.1)
    place = whole / "features"
    finetuning.compute_features(dataclasses.replace(other, seed=6), base, prepared, place)
    changed = dataclasses.replace(
        other, pretrained=Pretrained(start.file, {"sha256": "of another file"})
    )
    with pytest.raises(AssertionError):
        finetuning.compute_features(changed, base, prepared, place)
    data = copy.copy(prepared)
    data.description = prepared.description | {"sha256": "of other images"}
    with pytest.raises(AssertionError):
        finetuning.compute_features(other, base, data, place)


def test_only_the_layers_that_are_named_learn(start, prepared):
    model = network.build_network(experiment(start), prepared).model
    for tuning, learn in (
        ({"layers": "none"}, {"probability"}),
        ({"layers": "conv_dw_2"}, {"conv_dw_2", "conv_pw_2", "probability"}),
        (
            {"layers": "conv_pw_2", "batch_norm": "trained"},
            {"conv_pw_2", "conv_pw_2_bn", "probability"},
        ),
    ):
        finetuning.freeze(model, FineTuning(**TUNING | tuning), "tiny")
        assert {layer.name for layer in model.layers if layer.trainable_weights} == learn


def test_fine_tuning_changes_all_layers_but_frozen_batch_norm(start, prepared, whole):
    before = network.build_network(experiment(start), prepared).model
    after = keras.saving.load_model(whole / "model.keras", compile=False)
    unchanged = {
        type(old).__name__
        for old, new in zip(before.layers, after.layers)
        if old.weights and all(map(np.array_equal, old.get_weights(), new.get_weights()))
    }
    assert unchanged == {"BatchNormalization"}


def test_an_epoch_of_the_head_is_kept_if_fine_tuning_makes_it_worse(
    start, prepared, tmp_path: Path
):
    harmful = experiment(start, {"head_learning_rate": 0.05}, optimizer="sgd", learning_rate=100.0)
    training = fit(harmful, prepared, tmp_path)
    history = pd.read_csv(tmp_path / "history.csv", index_col="epoch")
    assert training["kept_epoch"] == history["val_accuracy"].idxmax() <= 3


@pytest.mark.parametrize(("monitor", "kept"), [("val_loss", True), ("loss", False)])
def test_the_best_value_carries_over_only_if_both_phases_measure_it_alike(monitor: str, kept: bool):
    stopping = OPTIONS.train.early_stopping.model_copy(update={"monitor": monitor})
    train = OPTIONS.train.model_copy(update={"early_stopping": stopping})
    phase = SimpleNamespace(trainer=SimpleNamespace(get_weights=list))
    past = fitting.carry_over(checkpoint.Past(stopping_state={"best": 1.0}), phase, train)
    assert bool(past.stopping_state) == kept


def test_a_missing_layer_is_refused_and_existing_ones_are_named(start, prepared):
    with pytest.raises(UserError, match="conv_pw_2"):
        network.build_network(experiment(start, {"layers": "conv_pw_3"}), prepared)


@pytest.mark.parametrize("restore_best", ["never", "when_stopped"])
def test_the_second_phase_begins_whichever_weights_are_kept(
    start, prepared, tmp_path: Path, restore_best: str
):
    stopping = OPTIONS.train.early_stopping.model_dump() | {"restore_best": restore_best}
    tuning = {"head_epochs": 1, "layers": "conv_pw_2"}
    fit(experiment(start, tuning, epochs=1, early_stopping=stopping), prepared, tmp_path)
    assert pd.read_csv(tmp_path / "history.csv")["phase"].tolist() == ["head", "fine-tuning"]
