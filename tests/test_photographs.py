"""From a folder of photographs to a model by one command, with the real DVC and a small network of
keras.applications whose weights the test saved itself."""

import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from support.project import Project, ran

CLASSES = ("amarillo", "blue sky", "rojo")
SAVE = """
import sys, keras, numpy
keras.utils.set_random_seed(int(sys.argv[2]))
network = keras.applications.MobileNet(
    alpha=0.25, weights=None, include_top=False, input_shape=(160, 160, 3)
)
norms = [one for one in network.layers if isinstance(one, keras.layers.BatchNormalization)]
for layer in norms:
    layer.momentum = 0.0  # statistics that keep signals alive through all layers
images = numpy.random.default_rng(1).uniform(-1, 1, (8, 160, 160, 3))
network(images.astype("float32"), training=True)
network.save_weights(sys.argv[1])
"""


def make_photographs(folder: Path) -> None:
    """25 images a class, each class with a colour of its own, of differing sizes."""
    random = np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for image in range(25):
            pixels = random.integers(0, 90, (40 + image, 60, 3))
            pixels[..., number] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{image}.jpg")


def use_small_network(params) -> None:
    params["architectures"]["pretrained-small"] |= {
        "network": "MobileNet",
        "arguments": {"alpha": 0.25},
    }
    params["architectures"]["pretrained-small"]["fine_tuning"] |= {
        "head_epochs": 3,
        "head_learning_rate": 0.03,
        "layers": "conv_pw_13",
    }


@pytest.fixture(scope="module")
def made(template: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project after the command."""
    from support.project import copy

    project = copy(template, tmp_path_factory.mktemp("made"))
    make_photographs(project.path("my photographs"))
    project.edit_params(use_small_network)
    save_weights(project, seed=0)
    output = project.command(
        "photographs", "my photographs", "--network", "small", "--weights", WEIGHTS
    )
    assert "classified right" in output and "commands.predict" in output
    return project


WEIGHTS = "data/pretrained/tiny.weights.h5"


def save_weights(project: Project, seed: int) -> None:
    project.run(sys.executable, "-c", SAVE, WEIGHTS, str(seed))


def test_the_run_leaves_a_model_with_all_that_belongs_to_it(made: Project):
    params = yaml.safe_load(made.path("params.yaml").read_text())
    assert params["dataset"] == "photographs"
    assert params["datasets"]["photographs"]["source"] == "my photographs"
    training = yaml.safe_load(
        made.path("reports/models/pretrained-small/training.json").read_text()
    )
    assert training["class_names"] == list(CLASSES)
    assert training["pretrained"]["sha256"] in made.path("reports/model_card.md").read_text()
    history = made.path("models/pretrained-small/history.csv").read_text()
    assert history.count("head") == 3 and "fine-tuning" in history
    assert made.path("exports/model.onnx").exists()
    picture = made.path("my photographs") / CLASSES[0] / "0.jpg"
    assert str(picture) in made.command("predict", "--explain", "why", str(picture))
    assert "didn't change" in made.dvc("repro") and not ran(made.dvc("repro"))


def test_a_rate_of_the_second_phase_computes_no_features_again(made: Project):
    features = made.path("models/pretrained-small/features/train.npy")
    before = features.stat().st_mtime_ns
    made.edit_params(lambda params: params["train"].__setitem__("batch_size", 16))
    assert ran(made.dvc("repro", "train@pretrained-small")) == ["train@pretrained-small"]
    assert features.stat().st_mtime_ns == before


def test_other_weights_in_the_file_train_again(made: Project):
    save_weights(made, seed=1)
    assert ran(made.dvc("repro", "data/dvc.yaml:weights")) == ["weights"]
    assert ran(made.dvc("repro", "--dry", "train@pretrained-small")) == ["train@pretrained-small"]


def test_weights_of_another_network_end_the_run_before_training(made: Project):
    def widen(params):
        params["architectures"]["pretrained-small"]["arguments"]["alpha"] = 0.5

    made.edit_params(widen)
    output = made.dvc("repro", "train@pretrained-small", status=255)
    assert "architectures.pretrained-small.weights" in output and "Traceback" not in output
    assert "Epoch" not in output
