"""`lmkit` and `python -m lmkit`: before `cli.main` and behind it, Ctrl-C ends the process as SIGTERM does, without a word."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where the process was started to ignore it
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from lmkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
