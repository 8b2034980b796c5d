"""Review a change: which parameters and accuracies it changed, and whether by more than chance.

Compares a revision (the working tree, or ``--head``) with the commit where it branched off
``--base``. Needs only what is in git, neither data nor models. Writes

    review.md     for a comment on a pull request
    review.html   the same with charts: both learning curves, and what changed in the confusion
                  matrices; opens without internet access

The exit status is 1 if the base of the comparison is missing in this clone, or if ``--repro``
fails. ``commands.reviewing.noise`` explains the verdicts; ``commands.gate`` the checks. Takes about
12 seconds.
"""

import argparse
from collections.abc import Sequence

from dvc.exceptions import DvcException

from commands.pipeline import outdated
from commands.pipeline.outdated import Outdated
from commands.pipeline.process import run_dvc
from commands.reviewing import comparing, gate, history, models, noise, revisions, yardstick
from commands.reviewing.comparing import Verdict
from commands.reviewing.rendering import OUTPUTS, Content, join_code, write_pages
from commands.reviewing.revisions import Revision
from stages import params
from stages.runtime import cli, escape, progress, refusals
from stages.runtime.errors import UserError


def list_messages(comparison: history.Base, head: Revision, dirty: list[str]) -> list[str]:
    """Sentences that a reader must know before the numbers."""
    base, messages = comparison.revision, [comparison.note] if comparison.note else []
    for revision in (base, head) if base and base.models else (head,):
        if revision.outdated:
            messages.append(
                f"dvc.lock is out of date in {revision.name}, or results are missing: `dvc repro` "
                f"would run {join_code(revision.outdated)}, and the stages that depend on them."
            )
            if revision is head and (hint := outdated.give_recheck_hint(revision.outdated)):
                messages.append(f"{hint}.")
    if dirty:
        messages.append(f"The working tree has uncommitted changes: {join_code(dirty)}.")
    if not head.models:
        messages.append(f"There are no results in {head.name}: `dvc repro` makes them.")
    if base and not base.models:
        messages.append(f"There are no results in {base.name} to compare with.")
    if base and base.dataset != head.dataset:
        messages.append(
            f"The data set is different: {join_code([base.dataset])} before, "
            f"{join_code([head.dataset])} now."
        )
    if base and (left_out := describe_left_out(base, head)):
        messages.append(left_out)
    return messages


def group_by_verdict(verdicts: dict[str, Verdict]) -> list[tuple[str, list[str]]]:
    """The verdicts in words, each with the names of its models."""
    groups: dict[str, list[str]] = {}
    for name, verdict in verdicts.items():
        groups.setdefault(str(verdict), []).append(name)
    return list(groups.items())


def describe_others(head: Revision, verdicts: dict[str, Verdict], measured: bool) -> str:
    """A sentence on how the other models of `head` compare with the selected one; empty if there
    are none. `measured`: whether the spread over seeds was measured."""
    if not verdicts:
        return ""
    judged = "; ".join(f"{join_code(names)}: {word}" for word, names in group_by_verdict(verdicts))
    judged += "" if measured else ", with an assumed spread over seeds"
    return (
        f"Test accuracies compared with that of the selected model {escape.code(head.selected)}: "
        f"{judged}."
    )


def describe_left_out(base: Revision, head: Revision) -> str:
    """A sentence on the models whose learning curves are not drawn because the results in `head`
    are of something else; empty if there are none."""
    stale = [model for model in head.models if model in base.models and head.is_stale(model)]
    if not stale:
        return ""
    return (
        f"Learning curves and charts of {join_code(stale)} are left out: those in {head.name} are "
        "of other code, data or parameters."
    )


def find_head(name: str | None) -> tuple[Revision, list[str]]:
    """The revision `name`, or the working tree if there is no name, and its uncommitted files.
    Raises `UserError` if there is no such revision."""
    if not name:
        return history.read_working_tree()
    commit = history.find_commit(name)
    if not commit:
        raise UserError(f"there is no revision {name!r} here")
    return Revision(history.name_commit(name, commit), commit), []


def compare(base_name: str, head_name: str | None, ran: Sequence[Outdated] = ()) -> Content:
    """Compare two revisions. `ran`: the stages that just ran because ``dvc.lock`` was out of date.
    Raises `UserError` if there is no revision `head_name`."""
    current = params.load()
    head, dirty = find_head(head_name)
    comparison = history.find_base(base_name, head, bool(dirty))
    base = comparison.revision
    wanted, bounds = head.read_options(current)
    rate = wanted.false_alarm_rate
    seed_spread, source = yardstick.choose_spread(base, head)
    verdicts, selected = {}, ""
    if base:
        if base.models:
            verdicts = comparing.judge_models(base, head, seed_spread, rate)
        selected = comparing.compare_selected(base, head, seed_spread, rate)
    messages = list_messages(comparison, head, dirty)
    others = comparing.judge_against_selected(head, seed_spread, rate)
    judged = any(
        verdict.difference or verdict.words == noise.NOT_JUDGED
        for verdict in (*verdicts.values(), *others.values())
    )
    if verdicts or judged:
        messages += yardstick.list_notes(
            seed_spread, source, base or head, head, judged or bool(selected)
        )
    content = Content(
        head=head,
        messages=messages,
        base=base,
        parameters=revisions.list_changed_parameters(base, head) if base else [],
        models=[
            models.describe_model(base, head, name, verdicts.get(name))
            for name in progress.track(verdicts or head.models, "models", "models")
        ],
        summary=group_by_verdict(verdicts),
        selected=selected,
        others=describe_others(head, others, measured=bool(seed_spread)),
        seeds=seed_spread and seed_spread["n"],
        rate=rate,
        gate=gate.run_checks(comparison, head, bounds, seed_spread, ran),
        charts=models.draw_charts(base, head, verdicts) if verdicts else {},
        missing=describe_missing(head),
        lost=comparison.why if comparison.lost else "",
    )
    content.messages[:0] = revisions.list_damages(base, head)  # last, once all files are read
    return content


def describe_missing(head: Revision) -> str:
    """A sentence on the outputs of the working tree that DVC's cache lacks; empty if it lacks
    none, or if `head` is a commit."""
    missing = [] if head.commit else revisions.list_missing_outputs()
    if not missing:
        return ""
    return (
        f"DVC's cache does not hold {join_code(missing)}. The review does not need them; `dvc "
        "pull` fetches them."
    )


def reproduce() -> tuple[list[Outdated], str]:
    """Run the stages that are out of date. Returns these stages, and a sentence if `dvc repro`
    failed."""
    stages = history.read_working_tree()[0].outdated
    if stages and run_dvc("repro"):
        why = "dvc.lock was out of date, or results were missing, and `dvc repro` failed"
        return stages, f"{why}: {join_code(stages)}."
    return stages, ""


def write_failure(head: str | None, why: str) -> None:
    """Write the pages of a review that failed."""
    name = revisions.strip_markup(head or "the working tree")
    write_pages(Content(Revision(name, None), [revisions.strip_markup(why)]))


def main(base: str, head: str | None, repro: bool) -> None:
    cli.exit_on_signals()
    cli.require_project()
    if repro and head:
        raise UserError("--repro runs the pipeline of the working tree: leave out --head")
    try:
        ran, failure = reproduce() if repro else ([], "")
        content = compare(base, head, ran)
    except (UserError, DvcException) as error:
        write_failure(head, str(error))
        raise UserError(str(error)) from None
    except Exception as error:
        why = f"The review failed through a bug of its own: {type(error).__name__}"
        write_failure(head, refusals.explain(error) or why)
        raise
    if failure:
        content.messages.insert(0, failure)
    elif ran:
        content.messages.insert(
            0,
            f"The committed dvc.lock was out of date, or results were missing: {join_code(ran)} "
            "had to run. The results below are new and not committed yet.",
        )
    write_pages(content)
    print(f"{content.head.name} against {content.base.name if content.base else 'nothing'}")
    for word, names in content.summary:
        print(f"  {', '.join(names)}: {word}")
    sentences = (content.selected, content.others, *content.messages, content.missing)
    for sentence in filter(None, sentences):
        print(f"  {sentence}")
    print(" and ".join(map(str, OUTPUTS)))
    if failure or content.lost:
        raise UserError(failure or content.lost)


def add_options(parser: argparse.ArgumentParser) -> None:
    history.add_base_option(parser)
    parser.add_argument("--head", help="the revision to review (default: the working tree)")
    parser.add_argument(
        "--repro", action="store_true", help="first run `dvc repro` if dvc.lock is out of date"
    )


if __name__ == "__main__":
    cli.run(main, __doc__, add_options)
