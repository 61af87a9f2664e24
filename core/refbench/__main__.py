"""``python -m refbench`` is ``refbench``."""

import sys

from refbench.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
