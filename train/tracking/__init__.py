"""Where a run can be followed and compared: TensorBoard, MLflow."""
