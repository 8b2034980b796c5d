"""Made-up results of any number of models and classes, without training: what training would have
written, and the real reports made from that."""

from contextlib import chdir
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from stages import compare, evaluate, params, report
from stages.storage import files
from support.example import read_example
from support.project import Project, data_json

SIDE = 16  # pixels
IMAGES = {"train": 200, "validation": 100, "test": 300}
MODEL_ENDINGS = ("", "-3blocks", "-batch-norm-before-activation", "-dropout-augmented")
CLASS_NAMES = ("class {}", "species-{} with a long name", "{}")


def list_layers(blocks: int) -> list[dict[str, Any]]:
    """The layers of a network, as training.json lists them."""
    layers = [{"name": "image", "type": "InputLayer", "output_shape": [SIDE, SIDE, 3]}]
    for number in range(blocks):
        for name, kind in (
            (f"convolution_{number}_of_branch_{number}", "Conv2D"),
            (f"batch_normalization_{number}", "BatchNormalization"),
            (f"global_average_pooling_{number}", "GlobalAveragePooling2D"),
        ):
            side = max(1, SIDE >> number)
            layers.append({"name": name, "type": kind, "output_shape": [side, side, 512]})
    layers.append({"name": "probability", "type": "Dense", "output_shape": [10]})
    return [{**layer, "parameters": 12_345_678} for layer in layers]


def write_model(model: str, labels: dict[str, np.ndarray], classes: list[str], seed: int) -> None:
    """Write what train writes of a model that is right on most images, but not on the first."""
    folder, random = Path("models") / model, np.random.default_rng(seed)
    probabilities = {}
    for part in ("validation", "test"):
        scores = random.normal(size=(len(labels[part]), len(classes)))
        scores[np.arange(len(labels[part])), labels[part]] += 2.5
        scores[0, labels[part][0] - 1] += 9
        odds = np.exp(2 * scores)
        probabilities[part] = (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)
    files.write_npz(folder / "predictions.npz", **probabilities)
    epochs = np.arange(12)
    history = {"epoch": epochs, "learning_rate": 0.01 / (1 + epochs)}
    for part in ("", "val_"):
        history[f"{part}accuracy"] = 0.9 - 0.5 / (1 + epochs) - seed / 100
        history[f"{part}loss"] = 2 / (1 + epochs) + seed / 100
    files.write_csv(pd.DataFrame(history), folder / "history.csv")
    options = params.load()
    training = {
        **data_json([SIDE, SIDE, 3], len(classes)),
        "model": model,
        "dataset": options.dataset,
        "class_names": classes,
        "parameters": {"total": 123_456_789 // (seed + 1), "trainable": 1},
        "computed_by": "tensorflow on cpu",
        "epochs": 12,
        "kept_epoch": 9,
        "seed": options.seed,
        "architecture": {"family": "cnn", "filters": [64, 128, 256, 512], "kernel_size": 3},
        "train": options.train.model_dump(),
        "augment": options.augment.model_dump(),
        "preprocess": options.preprocess.model_dump(),
        "effective_recipe": {
            "optimizer": {"name": "adam", "epsilon": 1e-7},
            "loss": {"name": "sparse_categorical_crossentropy", "from_logits": True},
        },
        "layers": list_layers(2 + 8 * (seed % 3)),
        "file": {"bytes": 123_456, "sha256": f"{seed:064x}"},
    }
    files.write_json(folder / "training.json", training)


def write_data(classes: list[str], names: bool, sizes: dict[str, int]) -> dict[str, np.ndarray]:
    """Write what preprocess and describe write of random images: `sizes` of each part, with file
    names if `names`. Returns the labels of each part."""
    random, prepared = np.random.default_rng(0), Path("data/prepared")
    prepared.mkdir(parents=True)
    labels, counts = {}, {}
    for part, images in sizes.items():
        labels[part] = np.arange(images) % len(classes)
        pixels = random.integers(0, 256, (images, SIDE, SIDE, 3), np.uint8)
        np.save(prepared / f"{part}.npy", pixels)
        np.save(prepared / f"{part}_labels.npy", labels[part])
        counts[part] = {
            name: int((labels[part] == place).sum()) for place, name in enumerate(classes)
        }
        if names:
            listed = [
                f"{part}/{classes[label]}/DSC_{place:05d}_of_a_holiday.jpeg"
                for place, label in enumerate(labels[part])
            ]
            files.write_text(prepared / f"{part}_names.txt", "\n".join(listed) + "\n")
    options = params.load()
    description = {
        **data_json([SIDE, SIDE, 3], 1),
        "dataset": options.dataset,
        "preprocess": options.preprocess.model_dump(),
        "class_names": classes,
    }
    files.write_json(prepared / "data.json", description)
    card = {
        "dataset": "made-up",
        "source": "/home/somebody/Pictures/of/a/holiday",
        "source_digest": "0" * 64,
        "licence": None,
        "classes": len(classes),
        "method": "stratified",
        "parts": {part: {"images": sizes[part], "classes": counts[part]} for part in sizes},
    }
    files.write_json(Path("reports/data/card.json"), card)
    return labels


def write_results(
    folder: Path, models: int, classes: int, test: int = IMAGES["test"], names: bool = False
) -> Project:
    """A folder with the reports for this many models, classes and test images."""
    files.write_text(folder / "params.yaml", read_example())
    project = Project(folder)
    model_names = [f"network{number}{MODEL_ENDINGS[number % 4]}" for number in range(models)]
    class_names = [CLASS_NAMES[number % 3].format(number) for number in range(classes)]

    def change(content: Any) -> None:
        network = content["architectures"]["mnist-dense"]
        content["architectures"] = dict.fromkeys(model_names, network)
        content["models"] = model_names

    project.edit_params(change)
    with chdir(folder):
        labels = write_data(class_names, names, IMAGES | {"test": test})
        for seed, model in enumerate(model_names):
            write_model(model, labels, class_names, seed)
            evaluate.main(model)
        compare.main()
        report.main()
    return project
