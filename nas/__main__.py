"""`python -m nas` is the command `nas`."""

import sys

from nas.cli.door import main

sys.exit(main())
