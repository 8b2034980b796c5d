"""Choose the trainings that a recheck compares, and say why it leaves the others."""

from collections.abc import Sequence

from commands.pipeline import repository
from commands.rechecking import records, stale
from commands.rechecking.stale import Training
from stages.runtime.errors import UserError


def choose(trainings: Sequence[Training], names: Sequence[str]) -> list[Training]:
    """The trainings with these names, each a key, stage or address; without names, all. Raises
    `UserError` for an unknown name."""

    def list_names(training: Training) -> set[str]:
        return {training.key, training.name, training.address}

    known = {name for training in trainings for name in list_names(training)}
    if unknown := [name for name in names if name not in known]:
        raise UserError(f"{unknown[0]!r} is not a training of the pipeline: see `dvc stage list`")
    return [training for training in trainings if not names or list_names(training) & set(names)]


def pair_with_revisions(
    trainings: Sequence[Training], everything: Sequence[Training], dry: bool
) -> tuple[list[tuple[Training, str]], dict[str, str]]:
    """Those of the `trainings` that are out of date by code alone, each with the commit that
    produced its results; and why the others that are out of date are left, by address."""
    outdated = [training for training in trainings if training.is_outdated]
    reasons = {training.address: explain_left(training, everything, dry) for training in outdated}
    left = {address: reason for address, reason in reasons.items() if reason}
    candidates = [training for training in outdated if training.address not in left]
    revisions = stale.find_revisions(candidates)
    pairs = []
    for training in candidates:
        if revision := revisions.get(training.address):
            pairs.append((training, revision))
        else:
            left[training.address] = describe_no_revision()
    return pairs, left


def explain_left(training: Training, everything: Sequence[Training], dry: bool) -> str | None:
    """Why a training that is out of date cannot be compared; None if it can, provided that a commit
    holds its code. `everything`: all trainings, since one may start from another. Raises
    `UserError` if a record of its results is damaged."""
    if training.new_outs and not dry:
        return (
            f"{', '.join(training.new_outs)} is a new output, which only a training makes; --dry "
            "still compares the rest"
        )
    if training.other_changes:
        return f"not only code differs: {', '.join(training.other_changes)}"
    for predecessor in training.find_predecessors(everything):
        if predecessor.entry is None or predecessor.other_changes:
            return f"it starts from {predecessor.address}, in which not only code differs"
    if training.differing_on_disk:
        return (
            f"{', '.join(training.differing_on_disk)} is not what the lock files say: `dvc "
            "checkout` may restore it"
        )
    if other_platform := records.find_other_platform(training):
        return other_platform
    # outputs of other trainings need not be here: the short experiment makes them
    made = {out for other in everything for out in other.outs}
    if missing := sorted({*training.missing} - made):
        return f"missing here: {', '.join(missing)}: `dvc checkout` or `dvc repro` brings it"
    return None


def describe_no_revision() -> str:
    """Why a training is left whose results no commit explains."""
    hint = ""
    if repository.is_shallow():
        hint = "; this clone is shallow and lacks older commits: `git fetch --unshallow` gets them"
    return f"no commit holds its lock file entry together with the code that the entry names{hint}"
