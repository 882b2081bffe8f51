#!/usr/bin/env python3
"""The command line: gisttracker's and Django's commands. See gisttracker/management/command_line.py."""

import sys

from gisttracker.management.command_line import main

if __name__ == "__main__":
    sys.exit(main(sys.argv))
