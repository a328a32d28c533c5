"""``python -m rmpsam_ros.cli``: where the command itself is not installed."""

import sys

from rmpsam_ros.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
