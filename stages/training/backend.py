"""Starting Keras in a controlled environment: every setting that can change a result is made here,
overriding the user's configuration.

The user still chooses the backend, the device, XLA's compiler flags and, by the processor, the
instruction set: `devices.describe_platform` names them for the run record and the checkpoint.
"""

import contextlib
import ctypes
import importlib.util
import os
import sys

from stages.runtime import processor
from stages.runtime.errors import UserError
from stages.runtime.text import first_line
from stages.training.importing import (
    blocked_imports,
    deferred_messages,
    isolated_keras_home,
    without_garbage_collection,
)

BACKENDS = ("tensorflow", "jax", "torch")
# prefixes of the environment variables that the backends and their libraries read
LIBRARIES = (
    "AUTOGRAPH_",
    "CUBLAS_",
    "CUDNN_",
    "DNNL_",
    "GOMP_",
    "JAX_",
    "KERAS_",
    "KMP_",
    "MKL_",
    "NVIDIA_TF32_OVERRIDE",
    "OMP_",
    "ONEDNN_",
    "PYTORCH_",
    "TF_",
    "TORCH_",
    "XLA_",
)
# prefixes of those left to the user: backend, device, how XLA compiles, memory, and logging
FREE = (
    "JAX_PLATFORMS",
    "KERAS_BACKEND",
    "KERAS_TORCH_DEVICE",
    "PYTORCH_CUDA_ALLOC_CONF",
    "TF_CPP_",
    "TF_FORCE_GPU_ALLOW_GROWTH",
    "TF_GPU_ALLOCATOR",
    "XLA_FLAGS",
    "XLA_PYTHON_CLIENT_",
)
# oneDNN's widest kernels for each `train.instruction_set`: none that only one vendor supports, such
# as AMX
KERNELS = {"avx512": "AVX512_CORE_BF16", "avx2": "AVX2"}
# how many TensorFlow operations may run in parallel, such as a convolution's two gradients: they
# share the threads, and each gives the same bits as alone
OPERATIONS_AT_A_TIME = 2
# parameters of glibc's mallopt (malloc.h) and their values
MALLOC = {"M_MMAP_MAX": (-4, 0), "M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 64 << 20)}


def start(threads: int, instruction_set: str = "avx512") -> None:
    """Import Keras and its backend with the project's settings, which they read on import.

    `instruction_set`, a key of `KERNELS`, is the widest that TensorFlow's kernels use. On a
    processor without it they use what there is, and a note on standard error says so.

    ``KERAS_BACKEND`` chooses the backend: tensorflow (the default), jax or torch. A note on
    standard error names environment variables that are ignored, since they contradict these
    settings. Raises `UserError` for any other backend, or one that is not installed or has no
    device.
    """
    backend = choose_backend()
    settings = {
        "KERAS_BACKEND": backend,
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": str(min(threads, OPERATIONS_AT_A_TIME)),
        "OMP_NUM_THREADS": str(threads),
        "TF_DETERMINISTIC_OPS": "1",
        "TF_ENABLE_ONEDNN_OPTS": "1",
        "ONEDNN_MAX_CPU_ISA": KERNELS[instruction_set],
        "TF_CPP_MIN_LOG_LEVEL": "3",  # log nothing: errors are raised as exceptions too
    }
    apply_settings(settings)
    if not processor.has(available := processor.find_instruction_set(), instruction_set):
        widest = "neither AVX-512 nor AVX2" if available == "other" else f"only {available}"
        print(
            f"note: train.instruction_set is {instruction_set}, but this processor has {widest}: "
            "results will differ in bits from those of a processor that has it",
            file=sys.stderr,
        )
    # Linux: in a batch job, threads stay on their own cores. Measured on two cores of an AMD EPYC,
    # Linux 6.18, alternating, 8 epochs of fashion-2blocks: 24 and 23 s of training instead of 36
    # and 35 s, with the same bits.
    with contextlib.suppress(AttributeError, OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    keep_freed_memory()
    with (
        deferred_messages(),
        isolated_keras_home(),
        blocked_imports("matplotlib", "sklearn"),
        without_garbage_collection(),
    ):
        import keras

        if backend == "tensorflow":
            from stages.training import arithmetic

            arithmetic.install()
        else:  # this imports TensorFlow too, if installed: do it while its messages are deferred
            keras.utils.set_random_seed(0)
    if backend != "tensorflow":
        require_device()


def choose_backend() -> str:
    """The backend in ``KERAS_BACKEND``, by default tensorflow. Raises `UserError` if it is unknown
    or not installed."""
    backend = os.environ.get("KERAS_BACKEND") or BACKENDS[0]
    if backend not in BACKENDS:
        raise UserError(f"KERAS_BACKEND={backend}: it must be one of {', '.join(BACKENDS)}")
    if not importlib.util.find_spec(backend):
        raise UserError(
            f"{backend}, Keras's backend by KERAS_BACKEND or by default, is not installed in "
            f"{sys.prefix}"
        )
    return backend


def require_device() -> None:
    """Raise `UserError` if the backend cannot compute on the chosen device."""
    import keras

    try:
        keras.random.uniform((1,), seed=1)
    except Exception as error:  # of a type that depends on the backend
        chosen = {
            name: os.environ[name]
            for name in ("JAX_PLATFORMS", "KERAS_TORCH_DEVICE")
            if name in os.environ
        }
        device = "".join(f", {name}={value}" for name, value in chosen.items())
        reason = f": {first_line(error)}" if str(error).strip() else ""
        raise UserError(
            f"KERAS_BACKEND={keras.config.backend()}{device}: it cannot compute here{reason}.\n"
            f"       Choose another device, or install the backend with support for this one"
        ) from None


def apply_settings(settings: dict[str, str]) -> None:
    """Set the environment variables in `settings`, and remove all others of the `LIBRARIES` except
    those that are `FREE`."""
    ignored = []
    for name, value in sorted(os.environ.items()):
        if name.startswith(LIBRARIES) and not name.startswith(FREE):
            del os.environ[name]
            # do not report others: TF_ may be Terraform's, and thread counts other programs'
            if name in settings and value != settings[name] and not name.endswith("_THREADS"):
                ignored.append(f"{name}={value}")
    os.environ |= settings
    if ignored:
        print(
            f"note: ignored, since results could depend on it: {' '.join(ignored)}",
            file=sys.stderr,
        )


def keep_freed_memory() -> None:
    """Make glibc keep the memory that a training step frees, for the next step.

    By default it returns large blocks to the system, which zeroes each page when it is requested
    again: on cifar100-simple-cnn, 20,000 pages per step, a tenth of the time.
    """
    with contextlib.suppress(AttributeError, OSError, TypeError):  # macOS, musl, Windows
        for parameter, value in MALLOC.values():
            ctypes.CDLL(None).mallopt(parameter, value)
