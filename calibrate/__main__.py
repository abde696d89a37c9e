"""`python -m calibrate` is `simkv calibrate`."""

import sys

from simkv.cli import main

sys.exit(main(["calibrate", *sys.argv[1:]]))
