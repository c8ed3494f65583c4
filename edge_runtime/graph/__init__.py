"""Reads the graphs of TFLite and ONNX files without their libraries."""
