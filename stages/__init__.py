"""The stages of the pipeline, one module per stage, and the packages that they share.

DVC starts a stage as ``python -m stages.NAME`` in the folder of the project; ``dvc.yaml`` declares
what it reads and writes.
"""

import os

# numpy reads these when it is imported, which comes after this. Otherwise its linear algebra
# (OpenBLAS) and its own loops would choose kernels by processor, and the bits would differ. Every
# x86-64 processor since 2013 can run the Haswell kernels; other architectures ignore the setting.
for name in [*os.environ]:
    if name.startswith(("OPENBLAS_", "GOTO_", "NPY_")):
        del os.environ[name]
# One thread: no matrix here is large enough for a second one, and when memory is short, OpenBLAS's
# threads wait for each other for minutes. TensorFlow has its own threads.
os.environ |= {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1"}
