"""Networks with auxiliary heads: outputs beside the main one that help to train it (GoogLeNet: Szegedy et al., arXiv 1409.4842).

All outputs are fitted with the same labels; training minimises the sum of their losses, weighted. What a network is judged by, in
early stopping as in the reports, is the main output, the first.
"""

import keras
import numpy as np


class Trainer(keras.Model):
    """A model that is fitted with one array of labels, however many outputs it has.

    Its logs keep their names with auxiliary heads: ``accuracy``, ``loss``, ``val_accuracy`` and ``val_loss`` are the main output's.
    Added are ``auxiliary1_accuracy``, ``auxiliary1_loss`` and so on, and ``combined_loss``, what training minimises. With auxiliary
    heads Keras averages the loss of each over batches, whatever their size: a smaller last batch counts as much as the others.
    """

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, [y] * len(self.outputs), y_pred, sample_weight, training)

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, [y] * len(self.outputs), y_pred, sample_weight)

    def get_metrics_result(self):
        logs = super().get_metrics_result()
        if len(self.outputs) == 1:
            return logs
        combined = {"combined_loss": logs.pop("loss")}
        return {name.removeprefix(f"{self.output_names[0]}_"): value for name, value in logs.items()} | combined


def by_part(part: str, predicted: np.ndarray | list[np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs of one prediction under the names of predictions.npz: ``PART`` the main one, ``PART_auxiliary1`` and so on."""
    main, *auxiliary = predicted if isinstance(predicted, list) else [predicted]
    return {part: main} | {f"{part}_auxiliary{number}": one for number, one in enumerate(auxiliary, start=1)}
