"""Lets ``python -m zsofs`` do what ``zsofs`` does."""

import sys

from zsofs.cli.main import main

sys.exit(main())
