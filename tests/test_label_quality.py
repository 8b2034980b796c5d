"""From a result back to the photograph: file names from the source to the page, and labels that
models doubt."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.project import Project, write_prepared
from support.results import write_model

from stages import compare, describe, download, evaluate, preprocess, report, split
from stages.images import data_uri
from stages.metrics.label_quality import find_label_issues, join_label_issues
from stages.page.templates import make_breakable

# thresholds: a (0.9 + 0.8 + 0.1) / 3 = 0.6, b (0.7 + 0.3) / 2 = 0.5, none for c
PROBABILITIES = np.array(
    [[0.9, 0.1, 0], [0.8, 0.2, 0], [0.1, 0.9, 0], [0.3, 0.7, 0], [0.55, 0.3, 0.15]]
)
LABELS = np.array([0, 0, 0, 1, 1])


def test_label_issues_match_those_found_by_hand():
    files = [f"{number}.png" for number in range(5)]
    issues = find_label_issues(PROBABILITIES, LABELS, ["a", "b", "c"], files)
    # the last image is misclassified, but reaches no class's threshold
    assert issues.to_dict("records") == [
        {
            "place": 2,
            "file": "2.png",
            "label": "a",
            "suggested": "b",
            "label_probability": 0.1,
            "suggested_probability": 0.9,
        }
    ]
    assert "file" not in find_label_issues(PROBABILITIES, LABELS, ["a", "b", "c"], None)


def test_a_label_that_the_model_predicts_is_not_doubted():
    """A rare class has a threshold that nearly every image reaches."""
    probabilities = np.array([[0.7, 0.3], [0.6, 0.4], [0.9, 0.1], [0.8, 0.2]])
    labels = np.array([0, 0, 0, 1])  # thresholds: 0.73 and 0.2; the first two reach only the latter
    assert find_label_issues(probabilities, labels, ["common", "rare"], None)["place"].tolist() == [
        3
    ]


def test_the_suggestion_is_the_most_probable_class_whose_threshold_is_reached():
    # thresholds: a (0.9 + 0.8) / 2 = 0.85, b (0.6 + 0.1) / 2 = 0.35, c (0.3 + 0.5) / 2 = 0.4
    probabilities = np.array(
        [[0.9, 0, 0.1], [0.8, 0.1, 0.1], [0.1, 0.6, 0.3]]
        + [[0.2, 0.5, 0.3], [0.05, 0.45, 0.5], [0.5, 0.1, 0.4]]
    )
    issues = find_label_issues(probabilities, np.array([0, 0, 1, 2, 2, 1]), ["a", "b", "c"], None)
    # the last image is most probably an a, but reaches only c's threshold
    assert issues[["place", "suggested"]].values.tolist() == [[5, "c"], [3, "b"]]


@pytest.mark.parametrize(
    ("is_test", "is_training", "examined"),
    [
        (False, False, {"validation", "test"}),
        (True, False, {"test"}),
        (False, True, {"test"}),
        (True, True, set()),  # the test images are training images too
    ],
)
def test_no_image_is_examined_twice_or_by_a_model_that_was_trained_on_it(
    tmp_path: Path, is_test: bool, is_training: bool, examined: set[str]
):
    images = np.zeros((len(LABELS), 1, 1, 1), np.uint8)
    prepared = write_prepared(
        tmp_path / "prepared",
        dict.fromkeys(("train", "validation", "test"), (images, LABELS)),
        3,
        validation_is_test=is_test,
        validation_is_training=is_training,
    )
    probabilities = {"validation": PROBABILITIES, "test": PROBABILITIES}
    assert {*evaluate.tabulate_label_issues(probabilities, prepared)["part"]} == examined


def test_labels_that_most_models_doubt_come_first():
    columns = ["part", "place", "label", "suggested", "label_probability", "suggested_probability"]
    rows = [
        [("test", 1, "a", "b", 0.0, 1.0), ("test", 2, "a", "b", 0.2, 0.6)],
        [("test", 2, "a", "c", 0.1, 0.8), ("validation", 1, "b", "a", 0.3, 0.5)],
        [("test", 2, "a", "c", 0.0, 0.7)],
    ]
    joined = join_label_issues([pd.DataFrame(of_model, columns=columns) for of_model in rows])
    assert joined.values.tolist() == [
        ["test", 2, "a", "c", 3, 0.1, 0.75],  # mean of the two that suggest c
        ["test", 1, "a", "b", 1, 0.0, 1.0],
        ["validation", 1, "b", "a", 1, 0.3, 0.5],
    ]
    assert join_label_issues([pd.DataFrame([], columns=columns)]).empty


def test_a_photograph_keeps_its_name_up_to_the_page(
    fresh: Project, monkeypatch: pytest.MonkeyPatch
):
    grey_of = {}
    for number in range(60):
        name = f"{'cats' if number % 2 else 'dogs'}/photo_{number}.png"
        path = fresh.path(f"photographs/{name}")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 4 * number).save(path)
        grey_of[name] = 4 * number

    def use_photographs(params):
        params["dataset"] = "mine"
        params["datasets"]["mine"] = {"source": "photographs", "licence": None}
        params["download"]["channels"] = 1

    fresh.edit_params(use_photographs)
    monkeypatch.chdir(fresh.folder)
    download.main("mine")
    for stage in (split, preprocess, describe):
        stage.main()
    labels = {}
    for part in ("train", "validation", "test"):
        prepared = fresh.path("data/prepared")
        names = (prepared / f"{part}_names.txt").read_text().splitlines()
        greys = np.load(prepared / f"{part}.npy")[:, 0, 0, 0]
        assert [grey_of[name] for name in names] == greys.tolist()
        labels[part] = np.load(prepared / f"{part}_labels.npy")
        labels[part][[3, 5]] ^= 1  # which the models will take for the other class
    for seed, model in enumerate(("mnist-dense", "fashion-2blocks")):
        write_model(model, labels, ["cats", "dogs"], seed)
        evaluate.main(model)
    compare.main()
    report.main()
    predictions = pd.read_csv(fresh.path("reports/models/mnist-dense/predictions.csv"))
    assert predictions["file"].tolist() == names
    assert predictions["actual"].tolist() == [name.split("/")[0] for name in names]
    page = fresh.path("reports/index.html").read_text(encoding="utf-8")
    issues = pd.read_csv(fresh.path("reports/label_quality.csv"))
    assert names[0] in issues["file"].tolist()
    mistakes = predictions[predictions["actual"] != predictions["predicted"]]
    assert len(mistakes) and all(make_breakable(name) in page for name in mistakes["file"])
    shown = re.findall(r'<img src="([^"]+)" alt="[^"]*"><figcaption>(.*?)</figcaption>', page)
    shown += re.findall(r'<img src="([^"]+)" alt="[^"]*" title="([^"]+)">', page)
    assert len(shown) > len(issues) + len(mistakes)
    for image, caption in shown:
        (name,) = re.findall(r"(?:cats|dogs)/photo_\d+\.png", caption.replace("<wbr>", ""))
        assert image == data_uri.encode_array(np.full((8, 8, 1), grey_of[name], np.uint8)), name
