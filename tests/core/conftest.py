"""The model builder is shared with the tests of the compiler."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "compiler"))
