"""tinydeploy: the smallest sufficient variant of a trained model for each microcontroller.

This package is the vocabulary: frozen values, ports, errors, configuration. It imports nothing
of the other rooms and nothing heavy.
"""

__version__ = "0.1.0"
