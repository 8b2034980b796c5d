"""A schedule's arguments in epochs: ours, turned into Keras's, which count batches.

Keras changes the rate behind the step that a boundary names, and counts steps from 0: behind
`boundary_epochs` 1, of 10 batches each, the next rate begins with step 10, whose boundary is 9.
"""

from typing import Any

IN_EPOCHS = {
    "boundary_epochs": "boundaries",
    "decay_epochs": "decay_steps",
    "first_decay_epochs": "first_decay_steps",
    "warmup_epochs": "warmup_steps",
}


def count_in_batches(arguments: dict[str, Any], batches: int) -> dict[str, Any]:
    """The arguments of a schedule under Keras's names: what is given in epochs, in batches."""
    return {
        IN_EPOCHS.get(name, name): (
            [round(one * batches) - 1 for one in value]
            if name == "boundary_epochs"
            else round(value * batches)
            if name in IN_EPOCHS
            else value
        )
        for name, value in arguments.items()
    }
