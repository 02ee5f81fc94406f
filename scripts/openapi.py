"""Write `docs/openapi.json`, the description of the JSON gateway that a server has too.

`python scripts/openapi.py [OUT]`: OUT defaults to the kept file; the staleness test passes another.
"""

import sys
from pathlib import Path

from pykvd.gateway.openapi import document

KEPT = Path(__file__).resolve().parent.parent / "docs" / "openapi.json"

if __name__ == "__main__":
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else KEPT
    out.write_text(document())
