"""Schedule arguments in epochs, converted to Keras's, which count batches.

Keras counts steps from 0 and changes the rate after the step that a boundary names. With 10 batches
per epoch and `boundary_epochs` 1, the next rate starts at step 10, so the boundary is 9.
"""

from typing import Any

IN_EPOCHS = {
    "boundary_epochs": "boundaries",
    "decay_epochs": "decay_steps",
    "first_decay_epochs": "first_decay_steps",
    "warmup_epochs": "warmup_steps",
}


def convert_to_batches(arguments: dict[str, Any], batches: int) -> dict[str, Any]:
    """Convert a schedule's arguments to Keras's names and units: epochs become multiples of
    `batches`, the number of batches per epoch. Empty arguments are left out."""
    return {
        IN_EPOCHS.get(name, name): (
            [round(boundary * batches) - 1 for boundary in value]
            if name == "boundary_epochs"
            else round(value * batches)
            if name in IN_EPOCHS
            else value
        )
        for name, value in arguments.items()
        if value is not None
    }
