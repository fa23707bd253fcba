"""A .tflite becomes plain C for one core."""
