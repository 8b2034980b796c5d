"""Logs for watching a training in TensorBoard while it runs; they change no result."""

from pathlib import Path

import keras

from stages.runtime.errors import UserError
from stages.storage import files

PARTS = ("train", "validation")


class TensorBoard(keras.callbacks.Callback):
    """Write the logs of each epoch into `folder`, as the runs train and validation, with epochs as
    in history.csv as steps. `history` holds the logs of all completed epochs: place this callback
    after the one that appends to it.

    Keras's callback of this name buffers values for up to two minutes, and they are lost if the
    training is killed. Here each epoch is flushed at once, and a resumed training rewrites the
    epochs before it.
    """

    def __init__(self, folder: Path, history: list[dict[str, float]]):
        super().__init__()
        self.folder, self.history = folder, history

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        try:
            from tensorflow import summary
        except ImportError:
            raise UserError(
                "params.yaml: tensorboard requires TensorFlow, which is not installed: set it to "
                "false"
            ) from None

        files.remove(self.folder)
        self.writers = {part: summary.create_file_writer(str(self.folder / part)) for part in PARTS}
        for epoch in range(len(self.history)):
            self.on_epoch_end(epoch)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        from tensorflow import summary

        for name, value in self.history[epoch].items():
            part = "validation" if name.startswith("val_") else "train"
            with self.writers[part].as_default(step=epoch + 1):
                summary.scalar(name.removeprefix("val_"), value)
        for writer in self.writers.values():
            writer.flush()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        for writer in self.writers.values():
            writer.close()
