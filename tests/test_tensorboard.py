"""What TensorBoard shows of a training, read by TensorBoard."""

from pathlib import Path

import pandas as pd
import pytest
from support.project import Project, ran

from stages import train

pytest.importorskip("tensorboard")

MODEL = "mnist-dense"


def read(folder: Path) -> pd.DataFrame:
    """What TensorBoard reads, as a table like history.csv."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    columns = {}
    for part, prefix in (("train", ""), ("validation", "val_")):
        events = EventAccumulator(str(folder / part), {"tensors": 0}).Reload()
        for tag in events.Tags()["tensors"]:
            tensors = {event.step: event.tensor_proto for event in events.Tensors(tag)}
            columns[prefix + tag] = {step: float(make_ndarray(tensors[step])) for step in tensors}
    return pd.DataFrame(columns).rename_axis("epoch")


def test_tensorboard_shows_each_epoch_and_changes_no_bit_of_a_training(
    finished: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    finished.edit_params(lambda params: params.update(tensorboard=True))
    assert ran(finished.dvc("repro", "--dry")) == []
    folder = finished.path(f"models/{MODEL}")

    finished.stage("train", MODEL)
    assert "up to date" in finished.dvc("status", f"train@{MODEL}")  # the same bits
    history = pd.read_csv(folder / "history.csv", index_col="epoch")
    shown = read(folder / "tensorboard")[history.columns]
    pd.testing.assert_frame_equal(shown, history, check_index_type=False, atol=1e-6)

    finished.edit_params(lambda params: params["train"].update(epochs=4))
    monkeypatch.chdir(finished.folder)
    train.main(MODEL)
    assert "resuming after epoch 2" in capsys.readouterr().out
    assert list(read(folder / "tensorboard").index) == [1, 2, 3, 4]
