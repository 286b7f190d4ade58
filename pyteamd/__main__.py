"""`python -m pyteamd`."""

import sys

from pyteamd.cli import main

sys.exit(main())
