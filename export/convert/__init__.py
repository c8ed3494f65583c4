"""A Keras model to TFLite and ONNX."""
