"""The stages of the pipeline, one module a stage, and the modules that they share.

A stage is started by DVC as ``python -m stages.NAME`` in the folder of the project; ``dvc.yaml``
says what it reads and writes.
"""

import os

# before NumPy is imported: no matrix here is large enough for a second thread of OpenBLAS, and with
# little memory its threads wait for each other for minutes. TensorFlow has its own threads.
os.environ["OPENBLAS_NUM_THREADS"] = "1"
