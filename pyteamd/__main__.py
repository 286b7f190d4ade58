"""`python -m pyteamd`."""

import sys

from pyteamd.cli.pyteamd.main import main

sys.exit(main())
