#!/usr/bin/env python3
"""The command line of gisttracker, with Django's commands. Settings are also flags; see gisttracker/commands.py."""

import sys

from gisttracker.commands import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
