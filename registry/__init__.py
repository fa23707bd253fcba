"""MLflow as the registry of models for microcontrollers."""
