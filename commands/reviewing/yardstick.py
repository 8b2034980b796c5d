"""What a change is judged by: the spread over seeds, and the parameters of the review and the
gate."""

from typing import Any

from commands.reviewing import noise
from commands.reviewing.revisions import Revision
from commands.reviewing.spread import SPREAD, has_provenance
from stages.runtime import escape


def read_spread(revision: Revision) -> dict[str, Any] | None:
    """The content of ``reports/seed_spread.json`` in a revision."""
    return revision.read_json(str(SPREAD))


def is_measured_on(seed_spread: dict[str, Any], revision: Revision) -> bool:
    """Whether a spread was measured with the data, the code and the parameters of a revision."""
    return has_provenance(
        seed_spread["measured_on"], revision.lock, revision.dataset, list(seed_spread["models"])
    )


def choose_spread(
    base: Revision | None, head: Revision
) -> tuple[dict[str, Any] | None, Revision | None]:
    """The spread that a review judges by, and the revision that has it: that of `base` if it was
    measured on `base`, since a change must not bring its own yardstick; else that of `head` if it
    was measured on `head`; else any other, the working tree's last. None and None if none was
    measured on the data of `head`."""
    sides = [(read_spread(revision), revision) for revision in (base, head) if revision]
    fitting = [side for side in sides if side[0] and is_measured_on(*side)]
    tree = Revision("the working tree", None)
    for seed_spread, revision in (*fitting, *sides, (read_spread(tree), tree)):
        if seed_spread and seed_spread["measured_on"].get("data") == head.data:
            return seed_spread, revision
    return None, None


def list_notes(
    seed_spread: dict[str, Any] | None,
    source: Revision | None,
    base: Revision,
    head: Revision,
    needed: bool = True,
) -> list[str]:
    """Sentences on the yardstick, the `seed_spread` of the revision `source`: if it is `needed` and
    was not measured, or not with the code and parameters of either revision; if it changed; and if
    parameters of the review or the gate changed."""
    notes = []
    if needed and seed_spread is None:
        notes.append(
            "The spread over seeds was not measured on this data set. It is assumed to be "
            f"{noise.ASSUMED:g} times the standard error of the test accuracy: `make seed-spread` "
            "measures it."
        )
    elif needed and not any(is_measured_on(seed_spread, revision) for revision in (base, head)):
        notes.append(
            "The spread over seeds was measured with other code, models or parameters: `make "
            "seed-spread` measures it again."
        )
    of_base, of_head = read_spread(base), read_spread(head)
    # where only its provenance changed, it was carried over to equal results
    if source and of_base and of_head and of_base["models"] != of_head["models"]:
        notes.append(f"{SPREAD} has changed; differences are judged by that of {source.name}.")
    before, after = read_yardstick(base), read_yardstick(head)
    changed = [escape.code(key) for key, value in after.items() if value != before.get(key, value)]
    if changed:
        notes.append(f"This revision changes what it is judged by: {', '.join(changed)}.")
    return notes


def read_yardstick(revision: Revision) -> dict[str, Any]:
    """The parameters by which the review and the gate judge a revision, by their dotted keys."""
    return {
        f"{section}.{key}": value
        for section in ("review", "gate", "evaluate")
        if isinstance(content := revision.parameters.get(section), dict)
        for key, value in content.items()
        if section != "evaluate" or key == "calibration_bins"
    }
