#!/usr/bin/env python3
"""The command line: gisttracker's and Django's commands. Settings are also flags: gisttracker/common/commands.py."""

import sys

from gisttracker.common.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
