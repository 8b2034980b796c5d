"""Augmentation, class weights and mixed precision: what training sees, and that this can be
repeated."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.example import load_example
from support.project import ROOT, write_prepared

from stages.replications.train import Replication, run
from stages.runtime.errors import UserError
from stages.storage import files
from stages.storage.prepared import Prepared
from stages.training import backend
from stages.training import run as train

pytestmark = pytest.mark.usefixtures("step_by_step")
CHOSEN = load_example()
IMAGES = np.random.default_rng(0).integers(0, 256, (40, 12, 12, 3), np.uint8)
EVERYTHING = {
    "horizontal_flip": True,
    "vertical_flip": True,
    "rotation": 15.0,
    "zoom": 0.1,
    "width_shift": 0.1,
    "height_shift": 0.1,
    "shear": 5.0,
    "crop_padding": 2,
}


@pytest.fixture(scope="module", autouse=True)
def keras() -> Any:
    backend.start(CHOSEN.train.threads)
    import keras

    return keras


def seen(seed: int = 1, training: bool = True, times: int = 1, **changes: Any) -> np.ndarray:
    """IMAGES as a network gets them after augmentation, in the last of `times` steps."""
    import keras

    from stages.training.augmentation import prepend_to

    inputs = keras.Input(IMAGES.shape[1:], dtype="uint8")
    network = keras.Model(
        *prepend_to(keras.Model(inputs, inputs), CHOSEN.augment.model_copy(update=changes), seed)
    )
    for _ in range(times):
        result = network([IMAGES], training=training)
    return np.asarray(result)


def test_augmentation_is_off_by_default_and_outside_training():
    from stages.training.augmentation import is_enabled

    assert not is_enabled(CHOSEN.augment)
    assert is_enabled(CHOSEN.augment.model_copy(update={"rotation": 1.0}))
    assert np.array_equal(seen(), IMAGES)
    assert np.array_equal(seen(training=False, **EVERYTHING), IMAGES)


def test_equal_seeds_give_equal_images_and_each_step_new_ones():
    first = seen(**EVERYTHING)
    assert first.dtype == np.uint8  # what the network takes
    assert np.array_equal(first, seen(**EVERYTHING))
    assert not np.array_equal(first, seen(seed=2, **EVERYTHING))
    assert not np.array_equal(first, seen(times=2, **EVERYTHING))


@pytest.mark.parametrize("name", EVERYTHING)
def test_each_key_alone_changes_the_images(name: str):
    changed = seen(**{name: EVERYTHING[name]})
    kept = sum(np.array_equal(*pair) for pair in zip(changed, IMAGES))
    assert kept <= (30 if name.endswith("flip") else 10)  # 40 images: half of them are flipped


def test_flips_are_exact():
    for name, axis in (("horizontal_flip", 1), ("vertical_flip", 0)):
        for image, before in zip(seen(**{name: True}), IMAGES):
            assert np.array_equal(image, before) or np.array_equal(image, np.flip(before, axis))
    both = {
        (axis, other)
        for image, before in zip(seen(horizontal_flip=True, vertical_flip=True), IMAGES)
        for axis in (1, -1)
        for other in (1, -1)
        if np.array_equal(image, before[::axis, ::other])
    }
    assert len(both) == 4


def test_crops_are_shifts_by_whole_pixels_in_either_direction():
    padding, (height, width) = 2, IMAGES.shape[1:3]
    places = set()
    for image, before in zip(seen(crop_padding=padding, fill_mode="constant"), IMAGES):
        padded = np.pad(before, ((padding, padding), (padding, padding), (0, 0)))
        crops = {(y, x): padded[y : y + height, x : x + width] for y in range(5) for x in range(5)}
        [place] = [place for place, crop in crops.items() if np.array_equal(image, crop)]
        places.add(place)
    assert {y for y, _ in places} == {x for _, x in places} == set(range(5))
    with pytest.raises(UserError, match="crop_padding is 12"):
        seen(crop_padding=12)


def test_crops_shift_by_each_number_of_pixels_equally_often():
    import keras

    from stages.training.augmentation import build_layers

    padding, count = 2, 4000
    [layer] = build_layers(
        CHOSEN.augment.model_copy(update={"crop_padding": padding}), (9, 9, 1), 1
    )
    images = np.zeros((count, 9, 9, 1), np.uint8)
    images[:, 4, 4] = 255
    shifted = keras.ops.convert_to_numpy(layer(images, training=True))
    for axis in (1, 2):
        places = shifted.max(axis=3 - axis)[..., 0].argmax(axis=1)
        frequencies = np.bincount(places, minlength=9)[2:7] / count
        assert frequencies == pytest.approx(np.full(5, 1 / 5), abs=0.03)


def test_rotation_is_in_degrees_and_fills_with_the_nearest_pixels():
    import keras

    from stages.training.augmentation import build_layers

    [layer] = build_layers(CHOSEN.augment.model_copy(update={"rotation": 15.0}), (12, 12, 3), 1)
    assert isinstance(layer, keras.layers.RandomRotation)
    assert np.allclose(np.multiply(layer.factor, 360), (-15, 15)) and layer.fill_mode == "nearest"


@pytest.mark.parametrize(
    ("options", "kind", "factors"),
    [
        ({"width_shift": 0.2}, "RandomTranslation", {"width_factor": 0.2, "height_factor": 0}),
        ({"height_shift": 0.2}, "RandomTranslation", {"width_factor": 0, "height_factor": 0.2}),
        ({"zoom": 0.1}, "RandomZoom", {"width_factor": 0.1, "height_factor": 0.1}),
        ({"shear": 45.0}, "RandomShear", {"x_factor": 1, "y_factor": 0}),
    ],
)
def test_each_key_gives_the_size_of_its_change(options: dict, kind: str, factors: dict):
    from stages.training.augmentation import build_layers

    [layer] = build_layers(CHOSEN.augment.model_copy(update=options), (12, 12, 3), 1)
    assert type(layer).__name__ == kind
    for name, factor in factors.items():
        assert np.abs(layer.get_config()[name]).max() == pytest.approx(factor), name


def small(**changes: Any) -> train.Experiment:
    """A small network with dropout, trained for three epochs with augmentation."""
    network = CHOSEN.architectures["mnist-dense"].model_copy(update={"units": [6], "dropout": 0.3})
    network.model_fields_set.update({"units", "dropout"})
    recipe = CHOSEN.train.model_copy(update={"epochs": 3, "batch_size": 8, **changes})
    return train.Experiment(
        "small", CHOSEN.seed, network, CHOSEN.augment.model_copy(update=EVERYTHING), recipe
    )


def replication(experiment: train.Experiment, in_training_mode: bool) -> Replication:
    """`experiment` as a replication, from scratch."""
    return Replication(**vars(experiment), start=None, evaluate_in_training_mode=in_training_mode)


@pytest.fixture
def prepared(tmp_path: Path) -> Prepared:
    """Prepared data with 30 images of one class and 10 of another."""
    part = IMAGES, np.repeat([0, 1], [30, 10])
    return write_prepared(tmp_path, {"train": part, "validation": part, "test": part}, 2)


def test_a_resumed_training_with_everything_that_has_a_state_ends_with_the_same_bits(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Augmentation, dropout also in evaluation, and the loss scaling of float16."""
    import keras

    from stages.training.checkpoint import Checkpoint

    experiment = replication(
        small(precision="mixed_float16", class_weight="balanced"), in_training_mode=True
    )

    def fit(folder: str) -> None:
        run(experiment, prepared, tmp_path / folder, tmp_path / f"{folder}.npz", None, True)

    monkeypatch.chdir(ROOT)  # the checkpoint holds a digest of the code there
    fit("whole")
    on_epoch_end = Checkpoint.on_epoch_end

    def stop_after_two(self, epoch: int, logs: Any = None) -> None:
        on_epoch_end(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Checkpoint, "on_epoch_end", stop_after_two)
        fit("resumed")
    fit("resumed")
    folders = [tmp_path / "whole", tmp_path / "resumed"]
    for name in ("optimizer.npz", "predictions.npz", "history.csv"):
        whole, resumed = (folder / name for folder in folders)
        assert whole.read_bytes() == resumed.read_bytes(), name
    whole, resumed = (keras.saving.load_model(folder / "model.keras") for folder in folders)
    assert all(np.array_equal(*pair) for pair in zip(whole.get_weights(), resumed.get_weights()))
    layers = files.read_json(tmp_path / "whole/training.json")["layers"]
    assert not any("random" in layer["name"] for layer in layers)  # augmentation is not saved


def test_dropout_stays_on_in_evaluation_if_asked(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(ROOT)
    import keras

    models, predictions = [], []
    for on in (False, True):
        plain = replace(small(epochs=1), augment=CHOSEN.augment)
        experiment, folder = replication(plain, in_training_mode=on), tmp_path / str(on)
        run(experiment, prepared, folder, tmp_path / "checkpoint.npz", None, True)
        models.append(keras.saving.load_model(folder / "model.keras", compile=False))
        predictions.append(np.load(folder / "predictions.npz")["test"])
    # the saved model drops nothing
    assert np.array_equal(*(model.predict(IMAGES, verbose=0) for model in models))
    assert np.array_equal(models[0].predict(IMAGES, verbose=0), predictions[0]) and not np.allclose(
        *predictions
    )


def test_a_prediction_is_averaged_over_an_image_and_its_mirror_image(
    prepared: Prepared, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(ROOT)
    import keras

    models = []
    for mirrored in (False, True):
        network = small().architecture.model_copy(update={"average_mirrored": mirrored})
        experiment = replace(small(epochs=1), architecture=network, augment=CHOSEN.augment)
        train.run(experiment, prepared, tmp_path / str(mirrored), tmp_path / "checkpoint.npz")
        models.append(
            keras.saving.load_model(tmp_path / str(mirrored) / "model.keras", compile=False)
        )
    plain, averaged = models
    images, mirrored = IMAGES, IMAGES[:, :, ::-1]
    mean = (plain.predict(images, verbose=0) + plain.predict(mirrored, verbose=0)) / 2
    np.testing.assert_allclose(averaged.predict(images, verbose=0), mean, atol=1e-6)
    np.testing.assert_array_equal(
        np.load(tmp_path / "True/predictions.npz")["test"], averaged.predict(images, verbose=0)
    )
    assert (
        not np.allclose(plain.predict(images, verbose=0), mean)
        and averaged.count_params() == plain.count_params()
    )


def test_balanced_class_weights_are_inverse_to_class_sizes():
    from stages.training.recipe import weigh_classes

    labels = np.repeat([0, 1], [30, 10])
    assert weigh_classes(CHOSEN.train, labels) is None
    balanced = CHOSEN.train.model_copy(update={"class_weight": "balanced"})
    assert weigh_classes(balanced, labels) == {
        0: pytest.approx(40 / (2 * 30)),
        1: pytest.approx(40 / (2 * 10)),
    }
