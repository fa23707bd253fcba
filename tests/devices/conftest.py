"""Makes the helpers in this folder importable: with importlib mode pytest does not."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
