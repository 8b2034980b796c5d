"""From a folder of photographs to a model by one command, with the real DVC and a small network of
keras.applications with weights that the tests save."""

import resource
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image
from support.project import Project, copy, ran

from commands import photographs, predict, seed_spread
from commands.photographing import settings, survey
from commands.pipeline import outdated, sources
from stages import params, train
from stages.params.schema import Source
from stages.runtime.errors import UserError
from stages.training import backend

backend.start(threads=2)

import keras  # noqa: E402

CLASSES = ("amarillo", "blue sky", "rojo")
WEIGHTS = "tiny.weights.h5"
MODEL = "pretrained-small"


def make_photographs(folder: Path) -> None:
    """12 images of differing sizes for each class, which has a colour of its own."""
    random = np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        (folder / name).mkdir(parents=True)
        for image in range(12):
            pixels = random.integers(0, 90, (40 + image, 60, 3))
            pixels[..., number] += 150
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{image}.jpg")


def shorten(project: Project, module: str, old: str, new: str) -> None:
    """Make the command of `project` faster, with smaller images or fewer epochs."""
    path = project.path(f"commands/photographing/{module}.py")
    assert old in (text := path.read_text())
    path.write_text(text.replace(old, new))


def use_small_network(params) -> None:
    params["architectures"][MODEL] |= {
        "network": "MobileNet",
        "arguments": {"alpha": 0.25},
    }
    params["architectures"][MODEL]["fine_tuning"] |= {
        "head_epochs": 3,
        "head_learning_rate": 0.03,
        "layers": "conv_pw_13",
    }


def save_weights(project: Project, seed: int, name: str = WEIGHTS) -> None:
    """Weights of a small MobileNet, whose statistics keep signals alive through all layers."""
    keras.utils.set_random_seed(seed)
    side = (160, 160, 3)
    network = keras.applications.MobileNet(
        alpha=0.25, weights=None, include_top=False, input_shape=side
    )
    for layer in network.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
    images = np.random.default_rng(1).uniform(-1, 1, (8, *side))
    network(images.astype("float32"), training=True)
    network.save_weights(project.path(name))


@pytest.fixture(scope="module")
def made(template: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project in which the command has run."""
    project = copy(template, tmp_path_factory.mktemp("made"))
    make_photographs(project.path("my photographs"))
    shorten(project, "settings", '"pretrained-small", 160', '"pretrained-small", 64')
    shorten(project, "settings", "EPOCHS = (5, 20)", "EPOCHS = (2, 2)")
    project.edit_params(use_small_network)
    # left by an earlier run
    project.edit_params(lambda params: params["split"].update(limit_train=3))
    save_weights(project, seed=0)
    output = project.command(
        "photographs", "my photographs", "--network", "small", "--weights", WEIGHTS
    )
    assert "classified correctly" in output and "commands.predict" in output
    return project


def test_the_run_leaves_a_model_its_card_its_export_and_nothing_to_repeat(
    made: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    params = yaml.safe_load(made.path("params.yaml").read_text())
    assert params["dataset"] == "photographs"
    assert params["datasets"]["photographs"]["source"] == "my photographs"
    assert params["split"]["limit_train"] is None
    training = yaml.safe_load(
        made.path("reports/models/pretrained-small/training.json").read_text()
    )
    assert training["class_names"] == list(CLASSES)
    assert training["pretrained"]["sha256"] in made.path("reports/model_card.md").read_text()
    history = made.path("models/pretrained-small/history.csv").read_text()
    assert history.count("head") == 3 and "fine-tuning" in history
    assert made.path("exports/model.onnx").exists()
    picture = made.path("my photographs") / CLASSES[0] / "0.jpg"
    monkeypatch.chdir(made.folder)
    predict.main([picture], "exports", "table", 3, False, False, Path("why"))
    assert str(picture) in capsys.readouterr().out and list(Path("why").rglob("0.jpg.png"))
    output = made.dvc("repro")
    assert "didn't change" in output and not ran(output)


def test_the_card_says_where_only_the_classifier_learned(made: Project, tmp_path: Path):
    project = copy(made, tmp_path)
    card = project.path("reports/model_card.md")

    def names_recipe_of_head() -> bool:
        """Whether a paragraph gives its optimizer and its learning rate."""
        paragraphs = card.read_text(encoding="utf-8").split("\n\n")
        return any("Adam" in text and "0.03" in text for text in paragraphs)

    assert not names_recipe_of_head()
    path = project.path(f"reports/models/{MODEL}/training.json")
    path.write_text(path.read_text().replace('"layers": "conv_pw_13"', '"layers": "none"'))
    project.stage("report")
    assert names_recipe_of_head()


def test_weights_that_are_not_in_git_leave_a_clone_up_to_date(
    made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = copy(made, tmp_path)
    project.path(".gitignore").open("a").write(f"/{WEIGHTS}\n/my photographs/\n")
    project.commit()
    monkeypatch.chdir(project.folder)

    def find_weights() -> list[str]:
        return [entry.stage for entry in outdated.find_outdated("HEAD") if "weights" in entry.stage]

    assert find_weights() == []
    with pytest.raises(UserError, match=rf"architectures\.{MODEL}\.weights: .*'{WEIGHTS}'"):
        options = params.load().model_copy(update={"dataset": "fashion_mnist_sample"})
        sources.require(options, seed_spread.is_there)
    project.edit_params(lambda params: params["architectures"][MODEL].update(weights="other.h5"))
    project.commit()
    assert find_weights()


@pytest.mark.parametrize(
    ("change", "name", "named"),
    [
        (lambda architectures: architectures, "My photographs", "--name"),
        (lambda architectures: architectures, "cifar10", "--name 'cifar10'"),  # a published one
        (lambda architectures: architectures[MODEL].update(weights=None), "fine", "weights"),
        (
            lambda architectures: architectures[MODEL].update(weights=None, fine_tuning=None),
            "fine",
            "with fine_tuning",
        ),
    ],
)
def test_unusable_settings_are_refused_and_nothing_is_written(
    made: Project, monkeypatch: pytest.MonkeyPatch, change, name: str, named: str
):
    monkeypatch.chdir(made.folder)
    before = made.path("params.yaml").read_text()
    made.edit_params(lambda content: change(content["architectures"]))
    edited = made.path("params.yaml").read_text()
    with pytest.raises(UserError, match=named):
        photographs.main(Path("my photographs"), "small", None, name, dry=False)
    assert made.path("params.yaml").read_text() == edited
    made.path("params.yaml").write_text(before)


def test_a_setting_invalid_in_params_yaml_is_named_before_anything_is_fetched(
    made: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(made.folder)
    monkeypatch.setattr(photographs.pretrained, "obtain", lambda *_: pytest.fail("fetched"))
    with pytest.raises(UserError, match=rf"architectures\.{MODEL}\.weights: '~/x'"):
        photographs.main(Path("my photographs"), "small", "~/x", "mine", dry=False)


def test_a_data_set_whose_classes_have_other_names_is_refused(
    made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = copy(made, tmp_path)
    monkeypatch.chdir(project.folder)
    project.edit_params(
        lambda params: params["datasets"]["photographs"].update(class_names=["a", "b"])
    )
    with pytest.raises(UserError, match=r"datasets\.photographs\.class_names"):
        photographs.main(Path("my photographs"), "small", WEIGHTS, "photographs", dry=True)


def test_one_class_is_refused_before_anything_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(photographs.pretrained, "obtain", lambda *_: pytest.fail("fetched"))
    folder = tmp_path / "photographs"
    make_photographs(folder)
    for name in CLASSES[1:]:
        shutil.rmtree(folder / name)
    with pytest.raises(UserError, match="one class"):
        photographs.main(folder, "small", None, "mine", dry=False)


def test_a_dry_run_refuses_photographs_that_cannot_be_read(
    made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(made.folder)
    folder = tmp_path / "photographs"
    make_photographs(folder)
    (folder / "rojo/0.jpg").rename(folder / "rojo/0.TIFF")
    with pytest.raises(UserError, match="not read: 1, such as rojo/0.TIFF"):
        photographs.main(folder, "small", WEIGHTS, "mine", dry=True)
    options = params.load()
    skipping = options.download.model_copy(update={"on_bad_image": "skip"})
    kept = survey.find_images(folder, "mine", options.model_copy(update={"download": skipping}))
    assert len(kept.names) == 35
    shutil.copy(folder / "rojo/2.jpg", folder / "cover.jpg")
    (folder / "rojo/0.TIFF").unlink()
    (folder / "rojo/1.jpg").rename(folder / "rojo/1.picture")  # an image of unknown extension
    (folder / "rojo/0.docx").write_text("none")
    with pytest.raises(UserError, match="not read: 1, such as rojo/0.docx"):
        photographs.main(folder, "small", WEIGHTS, "mine", dry=True)
    (folder / "rojo/0.docx").unlink()
    with pytest.raises(UserError, match="outside the class folders: 1, such as cover.jpg"):
        photographs.main(folder, "small", WEIGHTS, "mine", dry=True)


@pytest.mark.parametrize(("name", "kept"), [("rojo", 1), ("blue sky", 2)])
def test_a_dry_run_refuses_too_few_images_and_missing_weights(
    made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kept: int
):
    monkeypatch.chdir(made.folder)
    make_photographs(tmp_path / "few")
    for path in sorted((tmp_path / "few" / name).iterdir())[kept:]:
        path.unlink()
    with pytest.raises(UserError, match=f"class '?{name}'? has "):
        photographs.main(tmp_path / "few", "small", WEIGHTS, "mine", dry=True)
    with pytest.raises(UserError, match="there is no such file"):
        photographs.main(Path("my photographs"), "small", "no.h5", "mine", dry=True)


def test_a_dry_run_refuses_missing_weights_that_params_yaml_names(
    made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = copy(made, tmp_path)
    project.path(WEIGHTS).unlink()
    monkeypatch.chdir(project.folder)
    with pytest.raises(UserError, match=f"weights: no file lies at '{WEIGHTS}'"):
        photographs.main(Path("my photographs"), "small", None, "photographs", dry=True)


def test_a_dry_run_warns_of_too_little_disk_space(
    made: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.chdir(made.folder)
    usage = shutil.disk_usage(".")
    for free, warned in ((10**12, False), (1000, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage._replace(free=free))
        photographs.main(Path("my photographs"), "small", WEIGHTS, "mine", dry=True)
        assert ("disk" in capsys.readouterr().err) == warned


def test_a_full_disk_leaves_params_yaml_as_it_was(made: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(made.folder)
    before, limits = Path("params.yaml").read_text(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    try:
        with pytest.raises(OSError):
            settings.write_settings({"dataset": "mine", "datasets.mine.source": "folder"})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert Path("params.yaml").read_text() == before


def test_a_licence_stays_with_its_photographs(
    made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    shutil.copy(made.path("params.yaml"), tmp_path)
    datasets = {"photographs": Source(source="mine", licence="CC0-1.0"), "free": Source(source="a")}
    for path, name, removed in (
        (tmp_path / "mine", "photographs", False),
        (Path("others"), "photographs", True),
        (Path("others"), "free", False),
        (Path("others"), "new", False),
    ):
        plan = settings.plan_licence(path, name, datasets)
        assert bool(plan) == removed
    settings.write_settings({"dataset": "photographs", "datasets.photographs.licence": None})
    entry = yaml.safe_load(Path("params.yaml").read_text())["datasets"]["photographs"]
    assert entry["licence"] is None


def test_other_weights_need_another_training(made: Project, tmp_path: Path):
    project = copy(made, tmp_path)
    save_weights(project, seed=1, name="other.weights.h5")
    project.edit_params(
        lambda params: params["architectures"][MODEL].update(weights="other.weights.h5")
    )
    assert ran(project.dvc("repro", "data/dvc.yaml:weights")) == ["weights"]
    assert f"data/weights/{MODEL}" in project.dvc("status", f"train@{MODEL}")


def test_weights_of_another_network_end_the_run_before_training(
    made: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    def widen(params):
        params["architectures"][MODEL]["arguments"]["alpha"] = 0.5

    project = copy(made, tmp_path)
    project.edit_params(widen)
    monkeypatch.chdir(project.folder)
    with pytest.raises(UserError, match=f"architectures.{MODEL}.weights"):
        train.main(MODEL)
    assert "Epoch" not in capsys.readouterr().out
    with pytest.raises(UserError, match="another network"):
        photographs.main(Path("my photographs"), "small", WEIGHTS, "mine", dry=True)


@pytest.mark.parametrize(
    ("counts", "tuned", "weight", "epochs"),
    [
        ((30, 10), True, "balanced", 20),
        ((14, 10), True, "none", 20),
        ((8000, 7000), True, "none", 5),
        ((14, 10), False, "none", 1),
    ],
)
def test_the_settings_follow_from_the_number_of_photographs(
    counts: tuple[int, int], tuned: bool, weight: str, epochs: int
):
    labels = np.repeat([0, 1, 0], [*counts, 999])  # the last ones are test images
    images = SimpleNamespace(labels=labels, train=sum(counts))
    parts = {"train": range(sum(counts))}
    preset = settings.PRESETS["small"]
    planned = settings.plan_settings(Path("mine"), "mine", preset, tuned, images, parts)
    assert (planned["train.class_weight"], planned["train.epochs"]) == (weight, epochs)
