"""Writes the page at URL to standard output."""

import sys
import urllib.request

with urllib.request.urlopen(sys.argv[1]) as page:
    sys.stdout.buffer.write(page.read())
