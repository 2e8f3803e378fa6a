"""`python -m helpers`: see `cli`."""

import sys

from helpers import print_utf8
from helpers.cli import main

print_utf8()
sys.exit(main())
