"""Networks in ONNX and QONNX, in and out.

What others wrote is read into an integer network (QONNX) or a module of torch's (ONNX in floating
point); any integer network is written as either. The library `onnx` is loaded where it is first
needed.
"""
