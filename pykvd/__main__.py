"""`python -m pykvd` is the command `pykvd`."""

import sys

from pykvd.cli import main

sys.exit(main())
