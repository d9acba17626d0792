"""Prints what the endpoint at the port of the first argument serves; runs in the machine."""

import sys
import urllib.request

with urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/metrics") as answer:
    print(answer.read().decode())
