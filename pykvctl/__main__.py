"""`python -m pykvctl` is the console script under another name."""

from pykvctl.cli import main

main()
