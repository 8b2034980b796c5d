"""The pipeline as its users run it: real DVC and real stages on a small copy of the project."""

import json

import pytest
import yaml
from support.project import Project, ran

from stages import preprocess, train

MODELS = ["mnist-dense", "fashion-2blocks"]
SUMMARIES = {"compare", "report"}  # export too, if another model is selected
TRAINING = {f"{stage}@{model}" for stage in ("train", "evaluate") for model in MODELS}


def test_every_stage_is_in_the_lock_and_nothing_runs_twice(finished: Project):
    locked = set()
    for file in ("dvc.lock", "data/dvc.lock"):
        locked |= set(yaml.safe_load(finished.path(file).read_text())["stages"])
    # foreach makes a source stage of every data set; only the chosen one runs
    lines = [
        line
        for line in finished.dvc("stage", "list", "--all").splitlines()
        if not line.startswith("replications/")
    ]
    listed = {line.split()[0].split(":")[-1] for line in lines}
    listed -= {stage for stage in listed if stage.startswith("source@")} - {
        "source@fashion_mnist_sample"
    }
    data = {"check", "weights", "split", "preprocess"}
    assert {*data, "fingerprint", "export", *SUMMARIES, *TRAINING} <= listed
    assert listed <= locked
    assert ran(finished.dvc("repro")) == []


def test_the_same_inputs_give_the_same_bits(finished: Project):
    output = finished.command("verify")  # runs everything again in a fresh clone
    assert set(ran(output)) >= {
        "source@fashion_mnist_sample",
        "download",
        "split",
        "preprocess",
        "fingerprint",
        "export",
        *SUMMARIES,
        *TRAINING,
    }
    assert "equal bits" in output  # of outputs in dvc.lock and files in git


def test_another_optimizer_runs_training_and_what_follows_it(finished: Project):
    metrics = finished.path("reports/models/mnist-dense/metrics.json")
    before = json.loads(metrics.read_text())["learning_rate"]
    output = finished.dvc("exp", "run", "-S", "train.optimizer=sgd", "evaluate@mnist-dense")
    assert ran(output) == ["train@mnist-dense", "evaluate@mnist-dense"]
    # the optimizer's default, since params.yaml sets none
    assert (before, json.loads(metrics.read_text())["learning_rate"]) == (0.001, 0.01)
    rest = {"train@fashion-2blocks", *SUMMARIES}
    assert (
        rest
        <= set(ran(finished.dvc("repro", "--dry")))
        <= rest | {"export", "evaluate@fashion-2blocks"}
    )
    # -S rewrites params.yaml, and may change nothing but the value
    patch = finished.run("git", "diff", "--unified=0", "params.yaml").splitlines()
    lines = [line for line in patch if line[0] in "+-" and line[:3] not in ("+++", "---")]
    assert [line.split("#")[0].rstrip() for line in lines] == [
        "-  optimizer: adam",
        "+  optimizer: sgd",
    ]


def test_one_hyperparameter_of_one_network_trains_one_model(finished: Project):
    def change(params) -> None:
        params["architectures"]["fashion-2blocks"]["batch_norm"] = "before"

    finished.edit_params(change)
    # stages that read all architectures take a second each; the summaries follow
    assert set(ran(finished.dvc("repro", "--dry"))) - {*SUMMARIES, "export"} == {
        "fingerprint",
        "weights",
        "train@fashion-2blocks",
    }
    changed = json.loads(finished.dvc("params", "diff", "--json"))["params.yaml"]
    assert list(changed) == ["architectures.fashion-2blocks.batch_norm"]


def test_adding_a_model_trains_it_alone_and_removing_one_trains_none(finished: Project):
    three = [*MODELS, "mnist-convnet"]
    finished.edit_params(lambda params: params.update(models=three))
    finished.dvc("repro", "data/dvc.yaml:weights")  # a dependency of each training
    more = finished.dvc("repro", "--dry", *(f"train@{model}" for model in three))
    assert ran(more) == ["train@mnist-convnet"]
    less = finished.dvc("exp", "run", "-S", "models=[mnist-dense]", "compare")
    assert set(ran(less)) - {"check", "weights"} == {"compare"}
    assert list(finished.read_json("reports/metrics.json")) == ["mnist-dense"]
    assert [path.name for path in finished.path("reports/models").iterdir()] == ["mnist-dense"]


def test_image_size_is_a_parameter(finished: Project, monkeypatch: pytest.MonkeyPatch):
    finished.edit_params(lambda params: params["preprocess"].update(image_size=32))
    assert "preprocess" in ran(finished.dvc("repro", "--dry"))
    monkeypatch.chdir(finished.folder)
    preprocess.main()
    train.main("mnist-dense")
    training = finished.read_json("models/mnist-dense/training.json")
    assert training["layers"][0]["output_shape"] == [32, 32, 1]
    assert training["effective_recipe"]["loss"]["from_logits"]


def test_a_mistake_stops_the_run_before_the_first_model_trains(finished: Project):
    output = finished.dvc("exp", "run", "-S", "train.optimizer=adamm", status=255)
    assert "params.yaml:" in output and "train.optimizer: 'adamm'" in output
    assert "Traceback" not in output and "Epoch" not in output
