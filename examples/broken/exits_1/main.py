"""Fails as a program does that did not find its data: kind `nonzero_exit`."""

import sys

print("loading the data set")
sys.exit("FileNotFoundError: data/train.csv is not part of the submission")
