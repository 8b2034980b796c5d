"""The review, on real histories of the small project."""

import json
import re
from contextlib import chdir
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from dvc.repo import Repo
from playwright.sync_api import Browser
from support.browser import LOOKS, open_page
from support.processes import eventually, processes_in
from support.project import Project, copy
from support.reviews import MODEL, accept, closed_gate, commit, review

from commands import review as review_command
from commands import seed_spread
from commands.pipeline import lockfile, process, sources
from commands.reviewing import comparing, noise, yardstick
from commands.reviewing.history import find_base, read_working_tree
from commands.reviewing.models import count_confusion_change, draw_sparklines
from commands.reviewing.revisions import Revision
from commands.reviewing.spread import SPREAD, describe_provenance, has_provenance
from stages import params
from stages.runtime.errors import UserError
from stages.storage import files
from stages.training import backend


def skip_export_and_report(pipeline) -> None:
    """No review reads what these two write."""
    pipeline["stages"]["export"]["cmd"] = (
        "mkdir -p exports && cp reports/selection.json exports && echo {} > reports/export.json"
    )
    pipeline["stages"]["report"]["cmd"] = (
        "cd reports && touch index.html model_card.md mistakes.png"
    )


@pytest.fixture(scope="module")
def history(finished_template: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """`main` trains two networks for two epochs, the branch `longer` one of them for forty;
    `shorter` follows `longer` and goes back to what `main` has. `longer` holds the spread over two
    seeds, whose measurement left an experiment with the other seed."""
    project = copy(finished_template, tmp_path_factory.mktemp("history"))
    project.edit_params(skip_export_and_report, "dvc.yaml")
    with chdir(project.folder):
        accept("export")
        accept("report")
    project.commit()
    project.edit_params(lambda content: content.update(models=[MODEL]))
    project.edit_params(
        lambda content: content["train"].update(
            epochs=40,
            early_stopping={"monitor": "val_accuracy", "patience": None, "restore_best": "always"},
        )
    )
    project.dvc("repro")
    commit(project, "longer")
    project.command("seed_spread", "--seeds", "2")
    assert project.changes() == ["?? reports/seed_spread.json"]
    commit(project, "longer")
    project.run("git", "checkout", "--quiet", "-B", "shorter")
    project.run("git", "checkout", "main", "--", ".")
    commit(project, "shorter")
    project.run("git", "checkout", "--quiet", "longer")
    return project


@pytest.fixture(scope="module")
def better(history: Project) -> str:
    """The review of `longer` in the working tree against `main`, as users start it. It leaves
    review.html in the project."""
    assert "Traceback" not in history.command("review", "--base", "main")
    return history.path("review.md").read_text(encoding="utf-8")


def test_the_spread_is_measured_once_and_not_taken_from_the_change(history: Project):
    content = history.read_json("reports/seed_spread.json")
    measured = content["models"][MODEL]["test_accuracy"]
    own = history.read_json("reports/metrics.json")[MODEL]["test_accuracy"]
    assert (
        content["n"] == 2
        and content["seeds"] == [1337, 1338]
        and own == measured["values"][0] != measured["values"][1]
    )
    assert measured["sd"] == pytest.approx(
        abs(np.subtract(*measured["values"])) / np.sqrt(2), abs=1e-6
    )
    with chdir(history.folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(seed_spread, "run_dvc", lambda *_: pytest.fail("measured again"))
        seed_spread.main(2)
    assert history.changes() == []
    # a change is not judged by a spread that it brings, even one measured on both revisions
    path = history.path("reports/seed_spread.json")
    text = path.read_text()
    path.write_text(text.replace('"sd": 0', '"sd": 7'))
    try:
        with chdir(history.folder):
            base = Revision("longer", history.run("git", "rev-parse", "longer").strip())
            head = Revision("the working tree", None)
            assert yardstick.choose_spread(base, head) == (content, base)
            assert yardstick.read_spread(head) != content
    finally:
        path.write_text(text)


def test_a_note_names_the_revision_whose_spread_is_used(monkeypatch: pytest.MonkeyPatch):
    """Here neither side's spread was measured on the data, but the working tree's was."""
    base, head = (
        SimpleNamespace(name=name, data="new", parameters={}) for name in ("the base", "the head")
    )
    data = {"the base": "old", "the head": "older", "the working tree": "new"}
    models = {name: {"net": {"sd": len(name)}} for name in data}
    monkeypatch.setattr(
        yardstick,
        "read_spread",
        lambda revision: {
            "measured_on": {"data": data[revision.name]},
            "models": models[revision.name],
        },
    )
    monkeypatch.setattr(yardstick, "is_measured_on", lambda *_: False)
    models["the head"] = {}
    seed_spread, source = yardstick.choose_spread(base, head)
    assert seed_spread["measured_on"] == {"data": "new"}
    notes = yardstick.list_notes(seed_spread, source, base, head)
    assert "the working tree" in notes[-1]
    assert "the base" not in notes[-1] and "the head" not in notes[-1]
    models["the head"] = models["the base"]  # measured, or carried over, with equal results
    assert yardstick.list_notes(seed_spread, source, base, head) == notes[:-1]


def lock_stage(deps: dict[str, str], parameters: dict) -> dict:
    return {
        "deps": [{"path": path, "md5": md5} for path, md5 in deps.items()],
        "params": {"params.yaml": {"seed": 1} | parameters},
    }


def test_the_spread_belongs_to_the_weights_that_models_start_from():
    def make_lock(weights: str, source: str | None) -> dict:
        inputs = {"data/prepared": "p", "data/weights/a": weights, "reports/code/a.json": "c"}
        parameters = {"architectures.a": {"family": "application", "weights": source}}
        return {
            "split": lock_stage({"data/raw/mine": "r"}, {}),
            "preprocess": lock_stage({}, {}),
            "train@a": lock_stage(inputs, parameters),
            "evaluate@a": lock_stage({}, {}),
        }

    random = describe_provenance(make_lock("1", None), "mine", ["a"])
    # as in files that are older than networks with weights
    assert random.keys() == {"dataset", "data", "prepared", "code", "parameters"}
    mine = describe_provenance(make_lock("1", "mine.h5"), "mine", ["a"])
    for any_seed in (False, True):
        assert has_provenance(mine, make_lock("1", "mine.h5"), "mine", ["a"], any_seed)
        assert not has_provenance(mine, make_lock("2", "mine.h5"), "mine", ["a"], any_seed)
    lock = make_lock("1", "mine.h5")
    lock["train@a"]["params"]["params.yaml"]["architectures.a"] = ["damaged"]
    assert not has_provenance(mine, lock, "mine", ["a"])


def test_a_spread_over_two_backends_is_refused(history: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(history.folder)
    monkeypatch.setattr(backend, "choose_backend", lambda: "jax")  # which is not installed
    with pytest.raises(UserError, match="computed by tensorflow on cpu"):
        seed_spread.main(3)


def test_a_seed_that_ran_with_a_changed_working_tree_does_not_count(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    """DVC makes uncommitted changes part of an experiment."""
    monkeypatch.chdir(finished.folder)
    options, text = params.load(), Path("dvc.lock").read_text()
    place = describe_provenance(lockfile.parse(text), options.dataset, options.models)
    head = finished.run("git", "rev-parse", "HEAD").strip()
    Path("dvc.lock").write_text(text.replace("epochs: 2", "epochs: 9"))
    changed = finished.run("git", "stash", "create").strip()
    for seed, ran_as in ((1, head), (2, changed)):
        ref = f"refs/exps/{head[:2]}/{head[2:]}/seed-{seed}-of-{head[:7]}"
        finished.run("git", "update-ref", ref, ran_as)
    assert MODEL in seed_spread.run(1, head, place, options)
    with pytest.raises(UserError, match="dvc exp remove seed-2"):
        seed_spread.run(2, head, place, options)


def test_an_interrupted_seed_leaves_no_clone_behind(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    clones = finished.path(".dvc/tmp/exps/standalone")
    other = clones / "tmp-other"

    def interrupt(*arguments: str) -> None:
        other.mkdir(parents=True)  # of an experiment that somebody else started
        record = {"name": "other", "root_dir": str(other)}
        files.write_json(seed_spread.RUNS / "other/other.run", record)
        with process.start_dvc(*arguments):
            eventually(lambda: processes_in(clones, "stages.split"))
            raise KeyboardInterrupt

    monkeypatch.setattr(seed_spread, "run_dvc", interrupt)
    with pytest.raises(KeyboardInterrupt):
        seed_spread.run(2, finished.run("git", "rev-parse", "HEAD").strip(), {}, params.load())
    assert [*clones.glob("tmp*")] == [other]
    assert [path.name for path in seed_spread.RUNS.iterdir()] == ["other"]


def test_a_browser_draws_the_page_without_a_network(
    chromium: Browser, history: Project, better: str
):
    page = history.path("review.html").as_uri() + "#all"
    drawn = "document.querySelectorAll('.chart:not([data-drawn])').length === 0"
    with open_page(chromium, page, 390, drawn) as browser:
        assert browser.locator(".chart canvas").count() == 4
        assert browser.evaluate(LOOKS) == []


def test_a_change_that_helps_and_one_that_hurts(history: Project, better: str):
    assert f"- {MODEL}: **better**" in better and "| `train.epochs` | `2` | `40` |" in better
    assert "- fashion-2blocks: **not comparable: " in better
    text = review(history, "longer", "shorter")
    assert f"- {MODEL}: **worse**" in text


def test_an_experiment_can_be_reviewed(history: Project):
    """The spread is measured from these two seeds, so that their difference lies within it."""
    experiment = history.run(
        "git", "for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps"
    ).strip()
    # as `dvc exp apply` leaves it
    history.run("git", "update-ref", "refs/exps/exec/EXEC_APPLY", "HEAD")
    text = review(history, "longer~1", experiment)
    assert (
        f"- {MODEL}: **no difference larger than chance**" in text
        and "| `seed` | `1337` | `1338` |" in text
    )


def accept_any_calibration(project: Project) -> None:
    project.edit_params(lambda content: content["gate"].update(calibration_error=1.0))


def test_the_gate_opens_for_a_better_model(history: Project, tmp_path: Path):
    project = copy(history, tmp_path)
    accept_any_calibration(project)
    output = project.command("gate", "--base", "main")
    assert output.count("passed") == 3 and "make seed-spread" not in output


def test_the_gate_closes_for_a_worse_model_and_for_missing_results(
    history: Project, tmp_path: Path, capsys: pytest.CaptureFixture
):
    project = copy(history, tmp_path)
    results = ("reports", "params.yaml", "dvc.lock", "data/dvc.lock")
    project.run("git", "checkout", "--quiet", "shorter", "--", *results)
    check_out(project)
    # a change brings its own yardstick, which must not be used
    spread = project.path("reports/seed_spread.json")
    spread.write_text(spread.read_text().replace('"sd": 0', '"sd": 7'))
    accept_any_calibration(project)
    output = closed_gate(project, capsys, "longer")
    assert "FAILED: selected model" in output and output.count("FAILED") == 1
    assert "judged by that of longer" in output
    spread.write_text("{")
    assert "reports/seed_spread.json is damaged" in closed_gate(project, capsys, "longer")
    # results of forty epochs are now missing
    project.run("git", "checkout", "--quiet", "longer", "--", "params.yaml")
    output = closed_gate(project, capsys, "longer")
    for line in ("FAILED: dvc.lock", "not checked: selected model", "not checked: calibration"):
        assert line in output


def check_out(project: Project) -> None:
    with chdir(project.folder), Repo() as repo:
        repo.checkout(allow_missing=True)


def test_the_spread_is_not_measured_on_a_data_set_that_a_clone_lacks(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)

    def check(source: str) -> None:
        finished.edit_params(
            lambda content: content["datasets"]["fashion_mnist_sample"].update(source=source)
        )
        sources.require(params.load(), seed_spread.is_there)

    check("data/embedded/fashion_mnist.npz")
    finished.path("mine.npz").touch()
    check(str(finished.path("mine.npz")))
    for path in ("mine.npz", "../mine.npz"):
        with pytest.raises(UserError, match=f"fashion_mnist_sample.source: .*{path}"):
            check(path)
    finished.path("mine.npz.dvc").touch()
    finished.run("git", "add", "mine.npz.dvc")
    check("mine.npz")


def test_epochs_without_a_finite_accuracy_are_left_out_of_the_blocks():
    table = pd.DataFrame({"part": "validation", "accuracy": ["0.5", "inf", "0.7"], "loss": 1.0})
    base, head = (
        SimpleNamespace(name=name, read_report=lambda *_: table, is_stale=lambda _: False)
        for name in ("base", "head")
    )
    assert [row["blocks"] for row in draw_sparklines(base, head, "a")] == ["▁█", "▁█"]


def test_parameters_that_aliases_expand_too_far_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    names = "abcdefg"
    lines = [f"{two}: &{two} [{', '.join([f'*{one}'] * 9)}]" for one, two in pairwise(names)]
    Path("params.yaml").write_text("\n".join(["a: &a [1]", *lines]))
    revision = Revision("change", None)
    assert revision.parameters == {} and "100,000 values" in revision.damaged["params.yaml"]


def test_classes_named_by_digits_stay_strings(finished: Project, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(finished.folder)
    path = finished.path(f"reports/models/{MODEL}/predictions.csv")
    classes = finished.read_json(f"reports/models/{MODEL}/training.json")["class_names"]
    pd.read_csv(path).replace({name: f"{number}" for number, name in enumerate(classes)}).to_csv(
        path, index=False
    )
    tree = Revision("the working tree", None)
    cells = count_confusion_change(tree, tree, MODEL)
    assert set(cells["actual"]) == set("0123456789") and set(cells["predicted"]) <= set(
        "0123456789"
    )


HOSTILE = "x`</code><!-- @someone ![i](http://e/i.png) | **better** ```\n# Gate"


def acting(text: str) -> list[str]:
    """The parts of `HOSTILE` in a Markdown text outside code, where they would act."""
    visible = re.sub(r"(`+)[^`].*?\1", "", text)
    return [part for part in ("@", "<!--", "![", "**better**", "\n# Gate") if part in visible]


def test_what_a_pull_request_writes_is_text_in_the_review(finished: Project):
    """Keys of parameters and results, and names of models, could otherwise forge verdicts."""
    finished.edit_params(
        lambda content: content["train"].update(
            schedule="ExponentialDecay",
            schedule_arguments={
                "initial_learning_rate": 0.01,
                "decay_steps": 100,
                "decay_rate": 0.9,
                HOSTILE: 1,
            },
        )
    )
    finished.path(HOSTILE.replace("/", "_")).touch()
    text = review(finished)
    assert "train.schedule_arguments" in text
    assert not acting(text)
    metrics = finished.path("reports/metrics.json")
    content = json.loads(metrics.read_text())
    metrics.write_text(json.dumps(content | {HOSTILE: content[MODEL]}))
    finished.path("reports/selection.json").write_text(json.dumps({"selected": HOSTILE}))
    text = review(finished)
    assert "reports/metrics.json in the working tree" in text and "is damaged" in text
    assert not acting(text)
    metrics.write_text(json.dumps(content | {MODEL: {"test_accuracy": "**1.0**"}}))
    assert "reports/metrics.json in the working tree" in review(finished)


def test_a_missing_base_is_an_error(finished: Project):
    finished.path("README.md").touch()
    assert "no revision `nosuch`" in review(finished, "nosuch", refused=True)


def other_classes(project: Project) -> None:
    path = project.path(f"reports/models/{MODEL}/training.json")
    path.write_text(path.read_text().replace('"Bag"', '"Box"'))


def other_images(project: Project) -> None:
    path = project.path("dvc.lock")
    lines = path.read_text().splitlines(keepends=True)
    for number, line in enumerate(lines):
        if "path: data/prepared/test.npy" in line or line.strip() == "- path: data/split":
            lines[number + 2] = f"{lines[number + 2].split(':')[0]}: {'f' * 32}\n"
    path.write_text("".join(lines))


def reordered(project: Project) -> None:
    path = project.path(f"reports/models/{MODEL}/predictions.csv")
    head, *rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join([head, *reversed(rows)]))


def no_predictions(project: Project) -> None:
    project.path(f"reports/models/{MODEL}/predictions.csv").unlink()


def no_model(project: Project) -> None:
    path = project.path("reports/metrics.json")
    path.write_text(
        json.dumps(
            {name: row for name, row in json.loads(path.read_text()).items() if name != MODEL}
        )
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda project: None, "the same predictions"),
        (other_classes, "not comparable: different classes"),
        (other_images, "not comparable: different test data"),
        (reordered, "not comparable: predictions of different images"),
        (no_predictions, "not comparable: the working tree has no predictions of mnist-dense"),
        (no_model, "not comparable: the working tree has no results of mnist-dense"),
    ],
)
def test_the_obstacle_to_a_comparison_is_named(
    finished: Project, monkeypatch: pytest.MonkeyPatch, change, said: str
):
    monkeypatch.chdir(finished.folder)
    change(finished)
    base = Revision("main", finished.run("git", "rev-parse", "main").strip())
    head = Revision("the working tree", None)
    old, new = comparing.Results(base, MODEL), comparing.Results(head, MODEL)
    assert str(comparing.find_obstacle(old, new)) == said


def test_the_yardstick_is_read_whatever_the_sections_hold():
    """The number of bins counts too, since the calibration error depends on it."""
    damaged = SimpleNamespace(parameters={"review": 3, "gate": [1]})
    assert yardstick.read_yardstick(damaged) == {}
    whole = {"review": {"a": 1}, "evaluate": {"calibration_bins": 15, "top_k": 5}}
    parameters = yardstick.read_yardstick(SimpleNamespace(parameters=whole))
    assert parameters == {"review.a": 1, "evaluate.calibration_bins": 15}


def test_a_hook_reviews_its_own_repository_and_leaves_it_alone(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    """Git names the repository to a hook of a linked working tree in GIT_DIR."""
    finished.edit_params(lambda content: content["train"].update(epochs=3))
    commit(finished, "change")
    monkeypatch.setenv("GIT_DIR", str(finished.path(".git")))
    assert "change" in finished.command("review", "--base", "main", "--head", "change")
    assert finished.run("git", "branch", "--show-current").strip() == "change"


def test_another_selected_model_is_judged_without_a_measured_spread(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)
    base, head = (
        Revision("main", finished.run("git", "rev-parse", "main").strip()),
        Revision("the working tree", None),
    )
    assert comparing.compare_selected(base, head, None, 0.1) == ""
    other = next(name for name in head.models if name != base.selected)
    finished.path("reports/selection.json").write_text(json.dumps({"selected": other}))
    text = review(finished)
    (said,) = re.findall(rf"Another model is selected: `{other}` now, `{base.selected}`.*", text)
    assert "the noise is 0." in said and said.endswith((f"{noise.CHANCE}.", f"{noise.WORSE}."))
    assert "was not measured on this data set" in text
    words = f"{noise.BETTER}|{noise.CHANCE}"
    assert re.search(rf"selected model `{other}`: `{base.selected}`: ({words})", text)


def test_a_dirty_tree_with_an_outdated_lock_is_not_judged(finished: Project):
    finished.edit_params(lambda content: content["train"].update(epochs=3))
    finished.edit_params(lambda content: content["gate"].update(selected_fall=9.0))
    finished.path("stages/new.py").touch()
    text = review(finished)
    for part in (
        "dvc.lock is out of date",
        f"train@{MODEL}",
        "uncommitted changes: ",
        "stages/new.py",
        "judged by: `gate.selected_fall`",
        "**not judged: the results in the working tree",
        f"Learning curves and charts of `{MODEL}`",
    ):
        assert part in text
    # what is there was trained with other parameters
    assert "### Learning curves" not in text
    assert 'id="accuracy-' not in finished.path("review.html").read_text(encoding="utf-8")
    selected = finished.find_selected()
    of_others = re.search(rf"Test accuracies compared with .* `{selected}`: .*", text)[0]
    assert noise.NOT_JUDGED in of_others and noise.CHANCE not in of_others
    finished.path("reports/metrics.json").unlink()
    assert "There are no results" in review(finished)
    finished.edit_params(lambda content: content["train"].update(epochs=0))
    assert "train.epochs" in review(finished, refused=True)


def test_a_shallow_clone_reviews_another_branch(finished: Project, tmp_path: Path):
    for number in range(3):
        finished.path(f"{number}.md").touch()
        finished.commit()
    finished.edit_params(lambda content: content["gate"].update(calibration_error=1.0))
    commit(finished, "change")
    url, clone = finished.folder.as_uri(), Project(tmp_path / "clone")
    shallow = ("--depth", "2", "--no-single-branch", "--branch", "main")
    finished.run("git", "clone", "--quiet", *shallow, url, str(clone.folder))
    text = review(clone, "origin/main", "origin/change")
    assert "damaged" not in text and "| `gate.calibration_error` | " in text
    assert text.count("**the same predictions**") == 1 and "passed: dvc.lock" in text


def test_a_missing_history_cache_or_base_is_explained(
    finished: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
):
    finished.run("git", "checkout", "--quiet", "-b", "change")
    finished.path("README.md").write_text("a change\n")
    finished.commit()
    finished.run(
        "git", "clone", "--quiet", "--depth", "1", finished.folder.as_uri(), str(tmp_path / "clone")
    )
    text = review(Project(tmp_path / "clone"), refused=True)
    assert (
        "git fetch --unshallow" in text
        and "DVC's cache does not hold" in text
        and "dvc.lock is out of date" not in text
    )

    monkeypatch.chdir(finished.folder)

    def explain(base: str) -> tuple[str, bool]:
        tree, changed = read_working_tree()
        comparison = find_base(base, tree, bool(changed))
        return comparison.why, comparison.lost

    assert explain("main") == ("", False)
    why, lost = explain("change")
    assert "nothing to compare" in why and not lost
    why, lost = explain("elsewhere")
    assert "There is no revision `elsewhere`" in why and lost
    finished.run("git", "checkout", "--quiet", "--orphan", "first")
    finished.commit()
    why, lost = explain("first")
    assert "first commit" in why and not lost
    why, lost = explain("main")
    assert "no commit in common" in why and lost
    assert "FAILED: base" in closed_gate(finished, capsys, "elsewhere")


def test_the_review_runs_what_is_out_of_date_but_its_lock_check_has_failed(
    history: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    project = copy(history, tmp_path)
    project.run("git", "reset", "--quiet", "--hard")  # other tests leave files of other branches
    monkeypatch.chdir(project.folder)

    def change_command(command: str) -> None:
        stage = {"cmd": f"{command} HEAD -- reports"}  # which restores what the stage gave before
        project.edit_params(
            lambda pipeline: pipeline["stages"]["compare"].update(stage), "dvc.yaml"
        )

    with pytest.raises(UserError, match="--head"):
        review_command.main("main", "longer", repro=True)
    change_command("git checkout --quiet")
    review_command.main("main", None, repro=True)
    (line,) = re.findall("FAILED: dvc.lock: .*", project.path("review.md").read_text())
    assert "`compare` had to run" in line
    change_command("git checkout -q")
    project.path("review.md").unlink()
    monkeypatch.setattr(review_command, "run_dvc", lambda *_: 1)
    with pytest.raises(UserError, match="`dvc repro` failed: `compare`"):
        review_command.main("main", None, repro=True)
    assert "`dvc repro` failed: `compare`" in project.path("review.md").read_text()


def test_the_spread_is_measured_against_committed_results_alone(
    finished: Project, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(finished.folder)

    def refuse(named: str) -> None:
        with pytest.raises(UserError, match=named):
            seed_spread.require_committed_results()

    finished.path(str(SPREAD)).write_text("{}")
    finished.commit()
    finished.path(str(SPREAD)).write_text("{ }")  # which the measurement itself changes
    seed_spread.require_committed_results()
    finished.edit_params(lambda content: content["train"].update(epochs=3))
    refuse(r"params\.yaml")
    finished.commit()
    refuse("train@")


def test_a_failed_review_shows_its_error_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    review_command.write_failure("@one`", HOSTILE)
    text = Path("review.md").read_text(encoding="utf-8")
    assert "one" in text and "Gate" in text
    assert not acting(text) and "`" not in text
