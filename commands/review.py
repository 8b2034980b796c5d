"""Review a change: which parameters and accuracies it changed, and whether by more than chance.

Compares a revision (the working tree, or ``--head``) with the commit where it left ``--base``.
Reads both through DVC, from what lies in git: neither data nor models are needed. Writes

    review.md     for a comment on a pull request
    review.html   the same with charts: learning curves of both, what changed in the confusion
                  matrices; opens without internet

The exit status is 1 where there must be something to compare with, and it is not here.
``commands.reviewing.noise`` explains the verdicts; ``commands.gate`` the checks. Takes about 12
seconds.
"""

import argparse
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jinja2
from dvc.exceptions import DvcException
from markupsafe import Markup

from commands.pipeline import lockfile
from commands.pipeline.lockfile import Outdated
from commands.pipeline.process import run_dvc
from commands.reviewing import comparing, gate, history, models, noise, revisions
from commands.reviewing.comparing import Verdict
from commands.reviewing.gate import Check
from commands.reviewing.revisions import Revision
from stages import params
from stages.drawing import vega
from stages.page import bundle
from stages.page.templates import TEMPLATES as PAGE
from stages.page.templates import make_environment
from stages.runtime import cli, escape, progress
from stages.runtime.errors import UserError
from stages.storage import files

TEMPLATES = Path(__file__).parent / "reviewing"
OUTPUTS = (Path("review.md"), Path("review.html"))
LISTED = 5  # names in a sentence


@dataclass
class Content:
    """What both templates show; `lost`: why there is nothing to compare with, where there must
    be."""

    head: Revision
    messages: list[str]
    base: Revision | None = None
    parameters: list[dict[str, Any]] = field(default_factory=list)
    models: list[dict[str, Any]] = field(default_factory=list)
    summary: list[tuple[str, list[str]]] = field(default_factory=list)
    selected: str = ""
    others: str = ""
    seeds: int | None = None
    rate: float = 0.0
    gate: list[Check] = field(default_factory=list)
    charts: dict[str, vega.Spec] = field(default_factory=dict)
    last: list[str] = field(default_factory=list)
    lost: str = ""


def some(names: Iterable[object]) -> str:
    """A list in words, the first ones alone where it is long."""
    names = list(names)
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(escape.code(name) for name in names[:LISTED]) + more


def messages(base: Revision | None, head: Revision, dirty: list[str]) -> list[str]:
    """What a reader must know before the numbers, a sentence each."""
    found = []
    for one in (base, head) if base and base.models else (head,):
        if one.outdated:
            found.append(
                f"dvc.lock is out of date in {one.name}, or results are missing: `dvc repro` would "
                f"run {some(one.outdated)}, "
                "and what depends on that."
            )
            if one is head and (hint := lockfile.recheck_hint(one.outdated)):
                found.append(f"{hint}.")
    if dirty:
        found.append(f"The working tree has changes that are not committed: {some(dirty)}.")
    if not head.models:
        found.append(f"There are no results in {head.name}: `dvc repro` makes them.")
    if base and not base.models:
        found.append(f"There are no results in {base.name} to compare with.")
    if base and base.dataset != head.dataset:
        found.append(
            f"The data set is another one: {some([base.dataset])} before, "
            f"{some([head.dataset])} now."
        )
    return found


def summary(verdicts: dict[str, Verdict]) -> list[tuple[str, list[str]]]:
    """The models by what is said of them."""
    words = dict.fromkeys(map(str, verdicts.values()))
    return [(word, [name for name, one in verdicts.items() if str(one) == word]) for word in words]


def describe_others(head: Revision, verdicts: dict[str, Verdict]) -> str:
    """A sentence on the models of `head` beside the selected one; nothing where there are none."""
    if not verdicts:
        return ""
    judged = "; ".join(f"{some(names)}: {word}" for word, names in summary(verdicts))
    return f"Test accuracies against {escape.code(head.selected)}, which is selected: {judged}."


def compare(base_name: str, head_name: str | None, ran: Sequence[Outdated] = ()) -> Content:
    """`ran` are the stages that just ran because ``dvc.lock`` was out of date."""
    current = params.load()
    head, dirty = history.read_working_tree()
    if head_name:
        commit = history.find_commit(head_name)
        if not commit:
            raise UserError(f"there is no revision {head_name!r} here")
        head, dirty = Revision(history.name_commit(head_name, commit), commit), []
    found = history.find_base(base_name, head, bool(dirty))
    base = found.revision
    wanted, bounds = head.options(current)
    content = comparing.spread_file(base, head)
    verdicts = (
        comparing.all_models(base, head, content, wanted.false_alarm_rate)
        if base and base.models
        else {}
    )
    selected = (
        comparing.compare_selected(base, head, content, wanted.false_alarm_rate) if base else ""
    )
    notes = [*([found.why] if found.why else []), *messages(base, head, dirty)]
    if verdicts:
        judged = any(one.difference or one.words == noise.NOT_JUDGED for one in verdicts.values())
        notes += comparing.notes(content, base, head, judged or bool(selected))
    others = comparing.against_selected(head, content, wanted.false_alarm_rate)
    result = Content(
        head=head,
        messages=notes,
        base=base,
        parameters=revisions.list_changed_parameters(base, head) if base else [],
        models=[
            models.describe_model(base, head, name, verdicts.get(name))
            for name in progress.track(verdicts or head.models, "models", "models")
        ],
        summary=summary(verdicts),
        selected=selected,
        others=describe_others(head, others),
        seeds=content and content["n"],
        rate=wanted.false_alarm_rate,
        gate=gate.checks(found, head, bounds, content, ran),
        charts=models.draw_charts(base, head, verdicts) if verdicts else {},
        last=without_cache(head),
        lost=found.why if found.lost else "",
    )
    # behind all that reads files
    return replace(result, messages=[*comparing.damages(base, head), *notes])


def without_cache(head: Revision) -> list[str]:
    """A sentence where DVC's cache does not hold what `head` made."""
    missing = [] if head.commit else revisions.list_missing_outputs()
    return (
        [
            f"DVC's cache does not hold {some(missing)}: the review does without; `dvc pull` "
            "brings them."
        ]
        if missing
        else []
    )


def changed(model: dict[str, Any], measure: str) -> str:
    """A metric before and now, once where it is the same, a dash where there is none."""
    sides = [one for one in (model["old"], model["new"]) if one is not None]
    form = "g" if measure == "learning_rate" else ".4f"
    values = [format(one[measure], form) if measure in one else "–" for one in sides]
    return " → ".join(dict.fromkeys(values))


def cell(value: Any) -> str:
    """A parameter or its value as code in a Markdown table."""
    return escape.code("" if value is None else value, in_table=True)


def explanation(seeds: int | None, rate: float) -> str:
    """How the verdicts come about."""
    spread = f"the spread over {seeds} seeds" if seeds else "the spread over seeds, assumed here"
    return (
        "Only the test accuracy is judged. The noise is one standard deviation of the difference "
        "that chance alone makes: another "
        f"seed ({spread}), and the test images that only one of both networks "
        "classifies right. Verdicts are "
        "corrected for the number of models: of changes that change nothing, at most "
        f"{100 * rate:g} % are called better or worse "
        "in any model (more where a model's spread over seeds is larger than the others')."
    )


def write(content: Content) -> None:
    environment = make_environment()
    environment.globals |= {"changed": changed, "explanation": explanation}
    environment.loader = jinja2.FileSystemLoader(TEMPLATES)
    environment.filters |= {"cell": cell}
    page = {
        "vega": Markup(bundle.bundle_javascript()),
        "style": Markup((PAGE / "page.css").read_text(encoding="utf-8")),
        "script": Markup((PAGE / "page.js").read_text(encoding="utf-8")),
    }
    for path in OUTPUTS:
        text = environment.get_template(f"{path.name}.jinja").render(vars(content) | page)
        files.write_text(path, text)


def reproduce() -> tuple[list[Outdated], str]:
    """Run what is out of date. Returns the stages for which that was so, and what a reader must
    know, in a sentence, where that failed."""
    stages = history.read_working_tree()[0].outdated
    if stages and run_dvc("repro"):
        return (
            stages,
            "dvc.lock was out of date, or results were missing, and `dvc repro` failed: "
            f"{some(stages)}.",
        )
    return stages, ""


def main(base: str, head: str | None, repro: bool) -> None:
    cli.exit_on_sigterm()
    if repro and head:
        raise UserError("--repro runs the pipeline of the working tree: leave out --head")
    try:
        ran, failure = reproduce() if repro else ([], "")
        content = compare(base, head, ran)
    except Exception as error:
        refused = isinstance(error, (UserError, DvcException))
        why = (
            str(error)
            if refused
            else f"The review broke off by a fault of its own: {type(error).__name__}"
        )
        name = revisions.strip_markup(head or "the working tree")
        write(Content(Revision(name, None), [revisions.strip_markup(why)]))
        if refused:
            raise UserError(why) from None
        raise
    if failure:
        content.messages.insert(0, failure)
    elif ran:
        content.messages.insert(
            0,
            f"The committed dvc.lock was out of date, or results were missing: {some(ran)} had to "
            "run. What follows are the new results, which are still to be committed.",
        )
    write(content)
    print(f"{content.head.name} against {content.base.name if content.base else 'nothing'}")
    for word, names in content.summary:
        print(f"  {', '.join(names)}: {word}")
    sentences = (content.selected, content.others, *content.messages, *content.last)
    for sentence in filter(None, sentences):
        print(f"  {sentence}")
    print(" and ".join(map(str, OUTPUTS)))
    if failure or content.lost:
        raise UserError(failure or content.lost)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--base",
        default="main",
        help="the branch or revision to compare with (default: %(default)s)",
    )
    parser.add_argument("--head", help="the revision that is reviewed (default: the working tree)")
    parser.add_argument(
        "--repro", action="store_true", help="first run `dvc repro` where dvc.lock is out of date"
    )


if __name__ == "__main__":
    cli.run(main, __doc__, add_options)
