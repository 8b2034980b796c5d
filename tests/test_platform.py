"""The same bits in any environment, and a clear error where that is impossible."""

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from support.project import ROOT, own_environment

from stages.runtime import processor
from stages.runtime.errors import UserError
from stages.training import backend, devices

TRAIN = """
import hashlib, sys
from stages.training import backend
backend.start(2)
assert not {"matplotlib", "sklearn"} & {*sys.modules}  # which would take a third of the start
import keras, numpy as np
from support.project import data_json
from stages import architectures
keras.utils.set_random_seed(1)
images = np.random.default_rng(0).integers(0, 256, (96, 8, 8, 3), np.uint8)
arguments = {
    "whitening_size": 2, "whitening_images": 96, "whitening_epsilon": 0.01, "filters": [8, 40],
    "convolutions": 1, "kernel_size": 3, "pool_size": 2, "activation": "gelu",
    "batch_norm_momentum": 0.9, "head_scale": 0.1,
}
model = architectures.build("net", "whitened", arguments, data_json([8, 8, 3], 4))
architectures.adapt(model, "whitened", arguments, images)
model.compile("rmsprop", "sparse_categorical_crossentropy")
model.fit(images, np.arange(96) % 4, 32, epochs=2, verbose=0)
results = [*model.get_weights(), model.predict(images, verbose=0)]
print(hashlib.sha256(b"".join(array.tobytes() for array in results)).hexdigest())
"""
HOSTILE = {
    "KERAS_MAX_STEPS_PER_EPOCH": "1",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL",
    "OMP_NUM_THREADS": "1",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "OPENBLAS_CORETYPE": "Prescott",
    "PYTHONHASHSEED": "random",
    "PYTHONOPTIMIZE": "2",
    "TF_ENABLE_ONEDNN_OPTS": "0",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_USE_LEGACY_KERAS": "1",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit",
}


def trained(**environment: str) -> tuple[str, str]:
    """The digest of a small network trained in a process of its own, and its standard error."""
    process = subprocess.run(
        [sys.executable, "-c", TRAIN],
        env=own_environment() | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout, process.stderr


def test_no_setting_of_the_user_changes_a_bit(tmp_path: Path):
    configuration = {"floatx": "float64", "epsilon": 0.1, "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(configuration))
    digest, log = trained(KERAS_HOME=str(tmp_path), **HOSTILE)
    assert "TF_ENABLE_ONEDNN_OPTS=0" in log
    assert digest == trained()[0]


@pytest.mark.skipif(sys.platform != "linux", reason="its C library is another, with other settings")
def test_memory_that_a_step_frees_is_kept_for_the_next():
    """Otherwise the system zeroes each page again in every step."""
    code = """
import resource
from stages.training import backend
def count_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * (64 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
backend.keep_freed_memory()
print(count_faults(), count_faults())
"""
    output = subprocess.check_output([sys.executable, "-c", code], env=own_environment(), cwd=ROOT)
    first, second = map(int, output.split())
    assert second < first / 100


def test_a_missing_device_is_named(monkeypatch: pytest.MonkeyPatch):
    import keras

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError  # as JAX does

    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    monkeypatch.setattr(keras.random, "uniform", fail)
    with pytest.raises(UserError, match="JAX_PLATFORMS=cuda"):
        backend.require_device()


def test_bfloat16_is_refused_on_a_processor_where_onednn_would_end_the_process(
    monkeypatch: pytest.MonkeyPatch,
):
    backend.start(2)
    for found, refused in (("avx2", True), ("avx512", False)):
        monkeypatch.setattr(processor, "find_instruction_set", lambda found=found: found)
        devices.require_precision("float32")
        with pytest.raises(UserError, match="AVX-512") if refused else nullcontext():
            devices.require_precision("mixed_bfloat16")


@pytest.mark.parametrize("name", ["theano", "numpy"])
def test_an_unknown_backend_is_refused(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv("KERAS_BACKEND", name)
    with pytest.raises(UserError, match="tensorflow, jax, torch"):
        backend.start(2)


def test_help_works_where_docstrings_are_stripped():
    command = [sys.executable, "-OO", "-m", "stages.train", "--help"]
    output = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "usage:" in output and "model" in output
