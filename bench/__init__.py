"""Side-by-side measurements of our hub and the released one; `python -m bench` runs them.

The processes, the bus stub and the released environments are the test helpers'.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

sys.path.insert(0, str(ROOT / "tests"))
