"""Runs past the time of its resource class: kind `timeout`. Meant for a class of a few seconds."""

import time

for second in range(100_000):
    print(f"still training after {second} s", flush=True)
    time.sleep(1)
