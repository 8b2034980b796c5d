"""Names of files in an exported folder."""

INT8 = "model.int8.onnx"  # the network in 8-bit integers
DIGESTS = "SHA256SUMS"  # digests of the other files, for `sha256sum --check`
