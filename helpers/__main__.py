"""`python -m helpers`: see `cli`."""

import sys

from helpers.cli import main

sys.exit(main())
