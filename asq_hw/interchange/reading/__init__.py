"""From ONNX files that anybody wrote: read within bounds, and checked before anything is used."""
