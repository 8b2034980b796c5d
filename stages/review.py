"""Review a change: which parameters and accuracies it changed, and whether by more than chance.

Compares a revision (the working tree, or ``--head``) with the commit where it left ``--base``. Reads both through DVC, from what
lies in git: neither data nor models are needed. Writes

    review.md     for a comment on a pull request
    review.html   the same with charts: learning curves of both, what changed in the confusion matrices; opens without internet

``stages.reviewing.noise`` explains the verdicts; ``stages.gate`` the checks. Takes about 12
seconds.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from dvc.exceptions import DvcException
from markupsafe import Markup

from stages import cli, files, gate, params, report
from stages.cli import UserError
from stages.page import bundle
from stages.page import charts as page_charts
from stages.reviewing import charts, comparing, noise, revisions
from stages.reviewing.comparing import Verdict
from stages.reviewing.revisions import Revision

TEMPLATES = Path(__file__).parent / "reviewing"
OUTPUTS = (Path("review.md"), Path("review.html"))
BLOCKS = "▁▂▃▄▅▆▇█"
MOST_BLOCKS = 40  # epochs that a row of blocks shows
LISTED = 5  # names in a sentence
EMPTY = {"base": None, "parameters": [], "models": [], "summary": [], "seeds": None, "rate": 0.0, "gate": [], "charts": {}}


def some(names: list[str]) -> str:
    """A list in words, the first ones alone where it is long."""
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(f"`{name}`" for name in names[:LISTED]) + more


def blocks(rows: list[list[float]]) -> list[str]:
    """Rows of numbers as rows of block characters, on one scale."""
    least, most = min(map(min, rows)), max(map(max, rows))
    scale = (len(BLOCKS) - 1) / (most - least) if most > least else 0
    step = max(1, -(-max(map(len, rows)) // MOST_BLOCKS))
    return ["".join(BLOCKS[round((value - least) * scale)] for value in row[::step]) for row in rows]


def curves_of(base: Revision, head: Revision, model: str) -> pd.DataFrame | None:
    """The learning curves of both revisions in one table, with the column `revision`."""
    tables = [one.report(model, "curves.csv") for one in (base, head)]
    if any(table is None for table in tables):
        return None
    return pd.concat(table.assign(revision=one.name) for table, one in zip(tables, (base, head)))


def confusion_change(base: Revision, head: Revision, model: str) -> pd.DataFrame:
    """How many images each cell of the confusion matrix has in `base` (before) and `head` (after), and the change."""
    counts = [one.report(model, "predictions.csv").value_counts(["actual", "predicted"]) for one in (base, head)]
    table = pd.concat(counts, axis=1, keys=["before", "after"]).fillna(0).astype(int).sort_index()
    return table.assign(change=table["after"] - table["before"]).reset_index()


def described(base: Revision | None, head: Revision, model: str, verdict: Verdict | None) -> dict[str, Any]:
    """What the templates show of a model: its headline metrics in both revisions, and its curves as blocks."""
    metrics = [one.json("reports/metrics.json").get(model, {}) if one and one.models else {} for one in (base, head)]
    curves = curves_of(base, head, model) if base else None
    rows = []
    if curves is not None and verdict.words != noise.SAME:
        validation = curves[curves["part"] == "validation"]
        rows = [validation.loc[validation["revision"] == one.name, "accuracy"].tolist() for one in (base, head)]
    return {
        "name": model,
        "verdict": verdict,
        "old": metrics[0],
        "new": metrics[1],
        "blocks": blocks(rows) if rows and all(rows) else [],
        "ends": [(max(row), len(row)) for row in rows if row],
    }


def drawn(base: Revision, head: Revision, verdicts: dict[str, Verdict]) -> dict[str, page_charts.Spec]:
    """The charts of the page, by the id of their place in it; numbered as the models are."""
    judged = [{"model": name, "difference": one.difference.difference, "noise": one.difference.noise, "verdict": one.words}
              for name, one in verdicts.items() if one.difference]  # fmt: skip
    result = {"differences": charts.differences(pd.DataFrame(judged))} if judged else {}
    for number, (name, verdict) in enumerate(verdicts.items()):
        curves = curves_of(base, head, name)
        if curves is None or verdict.words == noise.SAME:
            continue
        result[f"accuracy-{number}"] = charts.curves(curves, "accuracy", "accuracy")
        result[f"loss-{number}"] = charts.curves(curves, "loss", "loss (cross-entropy, nats)")
        if verdict.difference:
            classes = head.report(name, "training.json")["class_names"]
            result[f"confusion-{number}"] = charts.confusion(confusion_change(base, head, name), classes)
    return result


def messages(base: Revision | None, head: Revision, outdated: dict[str, list[str]], dirty: list[str], why: str) -> list[str]:
    """What a reader must know before the numbers, a sentence each."""
    found = [why] if why else []
    for name, stages in outdated.items():
        if stages:
            found.append(f"dvc.lock is out of date in {name}, or results are missing: `dvc repro` would run {some(stages)}.")
    if dirty:
        found.append(f"The working tree has changes that are not committed: {some(dirty)}.")
    if not head.models:
        found.append(f"There are no results in {head.name}: `dvc repro` makes them.")
    if base and not base.models:
        found.append(f"There are no results in {base.name} to compare with.")
    if base and base.dataset != head.dataset:
        found.append(f"The data set is another one: {base.dataset} before, {head.dataset} now.")
    missing = [] if head.commit else revisions.not_in_cache()
    if missing:
        found.append(f"DVC's cache does not hold {some(missing)}: the review does without, `dvc pull` or `dvc repro` brings them.")
    return found


def summary(verdicts: dict[str, Verdict]) -> list[tuple[str, list[str]]]:
    """The models by what is said of them."""
    words = dict.fromkeys(map(str, verdicts.values()))
    return [(word, [name for name, one in verdicts.items() if str(one) == word]) for word in words]


def compare(base_name: str, head_name: str | None, reproduced: str) -> dict[str, Any]:
    """What both templates show; `reproduced` is what `reproduce` said."""
    options = params.load()
    head, dirty = revisions.working_tree()
    if head_name:
        commit = revisions.commit(head_name)
        if not commit:
            raise UserError(f"there is no revision {head_name!r} here")
        head, dirty = Revision(revisions.named(head_name, commit), commit), []
    base, why = revisions.base_of(base_name, head, bool(dirty))
    outdated = {one.name: one.outdated() for one in ([base, head] if base and base.models else [head])}
    content = comparing.spread_file(base, head)
    verdicts = comparing.all_models(base, head, content, options.review.false_alarm_rate) if base and base.models else {}
    notes = messages(base, head, outdated, dirty, why)
    if reproduced:
        notes.insert(0, reproduced)
    judged = any(one.difference or one.words == noise.NOT_JUDGED for one in verdicts.values())
    if judged and (note := comparing.spread_note(content, base, head)):
        notes.append(note)
    return {
        "base": base,
        "head": head,
        "messages": notes,
        "parameters": revisions.changed_parameters(base, head) if base else [],
        "models": [described(base, head, name, verdicts.get(name)) for name in verdicts or head.models],
        "summary": summary(verdicts),
        "seeds": content and content["n"],
        "rate": options.review.false_alarm_rate,
        "gate": gate.checks(base, head, options.gate, content, outdated[head.name]),
        "charts": drawn(base, head, verdicts) if verdicts else {},
    }


def changed(model: dict[str, Any], measure: str) -> str:
    """A metric before and now, once where it is the same."""
    values = [f"{one[measure]:.4f}" for one in (model["old"], model["new"]) if measure in one]
    return " → ".join(dict.fromkeys(values))


def explanation(seeds: int | None, rate: float) -> str:
    """How the verdicts come about, in two sentences."""
    if not seeds:
        return ""
    return (
        "The noise is one standard deviation of the difference that chance alone makes: another seed (the spread over "
        f"{seeds} seeds), and the test images that only one of both networks classifies right. Verdicts are corrected for the "
        f"number of models: of changes that change nothing, at most {100 * rate:g} % are called better or worse in any model "
        "(more where a model's spread over seeds is larger than the others')."
    )


def write(content: dict[str, Any]) -> None:
    environment = report.templates()
    environment.globals |= {"changed": changed, "explanation": explanation}
    environment.loader = jinja2.FileSystemLoader(TEMPLATES)
    environment.filters |= {"code": lambda value: "" if value is None else f"`{value}`".replace("|", "\\|")}
    page = {
        "vega": Markup(bundle.javascript()),
        "style": Markup((report.TEMPLATES / "page.css").read_text(encoding="utf-8")),
        "script": Markup((report.TEMPLATES / "page.js").read_text(encoding="utf-8")),
    }
    for path in OUTPUTS:
        with files.replacing(path) as partial:
            partial.write_text(environment.get_template(f"{path.name}.jinja").render(content | page), encoding="utf-8")


def reproduce() -> str:
    """Run the stages that are out of date. Returns what a reader must know of it, in a sentence; empty where nothing had to run."""
    stages = revisions.working_tree()[0].outdated()
    if not stages:
        return ""
    sentence = "The committed dvc.lock was out of date, or results were missing. "
    if subprocess.run([sys.executable, "-m", "dvc", "repro"], check=False).returncode:
        return f"{sentence}`dvc repro` failed."
    return f"{sentence}{some(stages)} had to run; what follows are the new results, which are still to be committed."


def main(base: str, head: str | None, repro: bool) -> None:
    try:
        content = compare(base, head, reproduce() if repro and not head else "")
    except (UserError, DvcException) as error:
        write(EMPTY | {"head": Revision(head or "the working tree", None), "messages": [str(error)]})
        raise UserError(str(error)) from None
    write(content)
    print(f"{content['head'].name} against {content['base'].name if content['base'] else 'nothing'}")
    for word, models in content["summary"]:
        print(f"  {', '.join(models)}: {word}")
    for message in content["messages"]:
        print(f"  {message}")
    print(" and ".join(map(str, OUTPUTS)))


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--base", default="main", help="the branch or revision to compare with (default: %(default)s)")
    parser.add_argument("--head", help="the revision that is reviewed (default: the working tree)")
    parser.add_argument("--repro", action="store_true", help="first run `dvc repro` where dvc.lock is out of date")


if __name__ == "__main__":
    cli.run(main, __doc__, add_options)
