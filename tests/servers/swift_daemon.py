"""Runs a program of Swift with another swift.conf than the machine's, whose path Swift has built in.

    /usr/bin/python3 swift_daemon.py SWIFT_CONF PROGRAM ARGUMENT...
"""

import os
import runpy
import sys

import swift.common.utils

# What these servers store need not outlive the machine, and waiting for its disk is much of what a small write takes.
os.fsync = os.fdatasync = lambda descriptor: None
swift.common.utils.SWIFT_CONF_FILE = sys.argv[1]
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
