"""A schedule's arguments in epochs: ours, turned into Keras's, which count batches."""

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
            [round(one * batches) for one in value]
            if name in IN_EPOCHS and isinstance(value, list)
            else round(value * batches)
            if name in IN_EPOCHS
            else value
        )
        for name, value in arguments.items()
    }
