"""What each option of the recipe does in a whole training of a small network."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.example import load_example
from support.project import ROOT, write_prepared

from stages.params.recipe import EarlyStopping
from stages.runtime.errors import UserError
from stages.storage.prepared import Prepared
from stages.training import backend
from stages.training.experiment import Experiment

backend.start(2)

import keras  # noqa: E402

from stages.training import compiling, fitting, network, run  # noqa: E402
from stages.training.batches import Batches  # noqa: E402

CHOSEN = load_example()
pytestmark = pytest.mark.usefixtures("step_by_step")


def write_images(folder: Path, **seeds: int) -> Prepared:
    """30 and 10 random images of two classes for each part, which has a seed of its own."""
    parts = {}
    for part, seed in ({"train": 0, "validation": 1, "test": 2} | seeds).items():
        images = np.random.default_rng(seed).integers(0, 256, (40, 12, 12, 3), np.uint8)
        images[30:, :6] //= 2  # the smaller class is darker above
        parts[part] = images, np.repeat([0, 1], [30, 10])
    return write_prepared(folder, parts, 2)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    return write_images(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(autouse=True)
def in_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)  # the checkpoint's digest is of the code there


def small(**recipe: Any) -> Experiment:
    architecture = CHOSEN.architectures["mnist-dense"].model_copy(update={"units": [6]})
    architecture.model_fields_set.add("units")
    chosen = CHOSEN.train.model_copy(update={"epochs": 1, "batch_size": 8, **recipe})
    return Experiment("small", CHOSEN.seed, architecture, CHOSEN.augment, chosen)


def train(experiment: Experiment, prepared: Prepared, folder: Path) -> keras.Model:
    run.run(experiment, prepared, folder, folder.with_suffix(".npz"))
    return keras.saving.load_model(folder / "model.keras", compile=False)


def weights(model: keras.Model) -> list[np.ndarray]:
    return model.get_weights()


@pytest.fixture(scope="module")
def plain(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """The weights without any of the options below."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return weights(train(small(), prepared, tmp_path_factory.mktemp("plain") / "small"))


@pytest.mark.parametrize(
    "change",
    [
        {},  # which changes nothing
        {"class_weight": "balanced"},
        {"precision": "mixed_float16"},
        {"optimizer": "sgd"},
        {"loss": "categorical_crossentropy", "loss_arguments": {"label_smoothing": 0.2}},
    ],
    ids=lambda change: next(iter(change), "nothing"),
)
def test_each_option_of_the_recipe_changes_the_weights(
    prepared: Prepared, plain: list[np.ndarray], tmp_path: Path, change: dict[str, Any]
):
    trained = weights(train(small(**change), prepared, tmp_path / "small"))
    assert all(map(np.array_equal, plain, trained)) == (not change)


def test_augmentation_changes_the_weights_and_is_not_saved(
    prepared: Prepared, plain: list[np.ndarray], tmp_path: Path
):
    experiment = replace(
        small(), augment=CHOSEN.augment.model_copy(update={"horizontal_flip": True})
    )
    model = train(experiment, prepared, tmp_path / "small")
    assert not all(map(np.array_equal, plain, weights(model)))
    assert not any("random" in layer.name for layer in model.layers)


def test_another_seed_augments_differently(prepared: Prepared):
    def draw_seeds(seed: int) -> list[list[int]]:
        augment = CHOSEN.augment.model_copy(update={"horizontal_flip": True, "rotation": 10})
        experiment = replace(small(), augment=augment, seed=seed)
        trainer = compiling.compile_trainer(experiment, network.build_network(experiment, prepared))
        states = [np.asarray(value) for value in trainer.variables if "seed" in value.path]
        return [state.tolist() for state in states]

    assert len(draw_seeds(1)) == 2
    assert draw_seeds(1) == draw_seeds(1)
    assert all(map(list.__ne__, draw_seeds(1), draw_seeds(2)))


def test_validation_images_do_not_change_the_weights(prepared: Prepared, tmp_path: Path):
    other = write_images(tmp_path / "other", validation=7)
    labels = other.folder / "validation_labels.npy"
    np.save(labels, 1 - np.load(labels))  # the other class is the larger one
    stopping = CHOSEN.train.early_stopping.model_copy(update={"restore_best": "never"})
    experiment = small(class_weight="balanced", early_stopping=stopping)
    models = [train(experiment, data, tmp_path / data.folder.name) for data in (prepared, other)]
    assert all(map(np.array_equal, *map(weights, models)))


def test_mixed_precision_is_the_type_of_computation(prepared: Prepared):
    built = network.build_network(small(precision="mixed_bfloat16"), prepared).model
    assert {layer.compute_dtype for layer in built.layers if layer.weights} >= {"bfloat16"}


def test_whitening_filters_come_from_the_training_part_alone(tmp_path: Path):
    arguments = {"whitening_images": 40, "filters": [4]}
    architecture = CHOSEN.architectures["cifar10-whitened"].model_copy(update=arguments)
    architecture.model_fields_set.update(arguments)
    filters = []
    for name, seeds in (("one", {}), ("other test", {"test": 7}), ("other train", {"train": 7})):
        (tmp_path / name).mkdir()
        prepared = write_images(tmp_path / name, **seeds)
        built = network.build_network(replace(small(), architecture=architecture), prepared)
        filters.append(built.model.get_layer("whitening").get_weights()[0])
    assert np.array_equal(filters[0], filters[1]) and not np.array_equal(filters[0], filters[2])


@pytest.mark.parametrize(
    ("monitor", "restore_best", "epochs", "kept"),
    [
        ("val_accuracy", "always", 6, "best"),
        ("val_loss", "always", 6, "best"),
        ("val_accuracy", "always", 3, "best"),
        ("val_accuracy", "when_stopped", 6, "best"),
        ("val_accuracy", "when_stopped", 3, "last"),
        ("val_accuracy", "never", 6, "last"),
    ],
)
def test_restore_best_decides_which_epochs_weights_are_kept(
    prepared: Prepared,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    monitor: str,
    restore_best: str,
    epochs: int,
    kept: str,
):
    """The second epoch is the best, and early stopping acts after the fourth."""
    values = [0.5, 0.9, 0.4, 0.3, 0.2, 0.1]
    if monitor == "val_loss":
        values = [1 - value for value in values]
    by_epoch, on_epoch_end = [], fitting.EpochHooks.on_epoch_end

    def record(self, epoch: int, logs: dict[str, float]) -> None:
        on_epoch_end(self, epoch, logs)
        logs[monitor] = values[epoch]
        by_epoch.append(weights(self.model))

    monkeypatch.setattr(fitting.EpochHooks, "on_epoch_end", record)
    stopping = EarlyStopping(monitor=monitor, patience=2, restore_best=restore_best)
    model = train(small(epochs=epochs, early_stopping=stopping), prepared, tmp_path / "small")
    assert len(by_epoch) == min(epochs, 4)
    expected = by_epoch[{"best": 1, "last": -1}[kept]]
    assert all(map(np.array_equal, weights(model), expected))
    assert len(pd.read_csv(tmp_path / "small/history.csv")) == len(by_epoch)


def test_a_loss_that_is_not_finite_ends_the_training_with_an_error(
    prepared: Prepared, tmp_path: Path
):
    with pytest.raises(UserError, match="small: the loss is (nan|inf) in epoch"):
        train(small(optimizer="sgd", learning_rate=1e30), prepared, tmp_path / "small")


def test_each_image_keeps_its_label_in_a_reduced_budget_and_when_shuffled(tmp_path: Path):
    """Here the pixels of each image are its label."""
    numbers = np.arange(40)
    images = np.tile(numbers.astype(np.uint8)[:, None, None, None], (1, 2, 2, 1))
    write_prepared(tmp_path, dict.fromkeys(("train", "validation", "test"), (images, numbers)), 40)
    draws: list[list[int]] = []
    for _ in range(2):
        few = Prepared(tmp_path, {"train": 5})
        draws.append(few.labels("train").tolist())
        assert few.images("train")[:, 0, 0, 0].tolist() == draws[-1] != [*range(5)]
    assert draws[0] == draws[1] and len(draws[0]) == 5 and len(few.labels("test")) == 40

    def read(epoch: int, classes: int | None = None) -> list[int]:
        shuffled = Batches(few.images("test"), few.labels("test"), 16, classes, seed=1)
        shuffled.begin(epoch)
        pairs = [shuffled[step] for step in range(len(shuffled))]
        assert [len(labels) for _, labels in pairs] == [16, 16, 8]
        numbers = np.concatenate([labels for _, labels in pairs])
        numbers = numbers.argmax(axis=1) if classes else numbers
        assert np.concatenate([images for images, _ in pairs])[:, 0, 0, 0].tolist() == [*numbers]
        assert sorted(numbers) == [*range(40)]
        return [*numbers]

    assert read(0) == read(0, classes=40) != read(1) != [*range(40)]
