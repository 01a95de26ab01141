"""Diverges and reports it as a number that is none: kind `invalid_metrics`."""

import argparse
import json
import os

parser = argparse.ArgumentParser()
parser.add_argument("--config")
parser.add_argument("--output")
output = parser.parse_args().output

with open(os.path.join(output, "metrics.json"), "w", encoding="utf-8") as file:
    json.dump({"params": {"learning_rate": 1000.0}, "metrics": {"image_auc": 0.5, "loss": float("nan")}}, file)
