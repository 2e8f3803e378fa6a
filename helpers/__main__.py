"""`python -m helpers`: see `cli`."""

import sys

import helpers
from helpers.cli import main

helpers.print_utf8()
sys.exit(main())
