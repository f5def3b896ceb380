"""`python -m nas` is the command `nas`."""

import sys

from nas.commands.door import main

sys.exit(main())
