"""Compares Isolation Forest with Local Outlier Factor on generated data and draws their ROC curves."""

import argparse
import json
import os
import re
import time

import matplotlib

matplotlib.use("Agg")  # a worker has no display

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_blobs
from sklearn.metrics import roc_auc_score, roc_curve

from detectors import DETECTORS

# What config.yaml must hold: every key, and no other.
KEYS = ("seed", "train_samples", "test_samples", "features", "contamination", "trees", "neighbours")
LINE = re.compile(r"(\w+):\s+(\d+(?:\.\d+)?)(?:\s+#.*)?\s*")


def read_config(path):
    """Reads flat `key: number` lines, the part of YAML that needs no library. Anything else is refused by its line."""
    config = {}
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            match = LINE.fullmatch(line)
            key, value = match.groups() if match else (None, None)
            if key not in KEYS or key in config:
                expected = f"each of {', '.join(KEYS)} once, with a number"
                raise SystemExit(f"{path}, line {number}: expected {expected}; found {line.strip()!r}")
            config[key] = float(value) if "." in value else int(value)
    missing = [key for key in KEYS if key not in config]
    if missing:
        raise SystemExit(f"{path}: {', '.join(missing)} not given")
    return config


def generate(config):
    """Normal samples come from four blobs, anomalies from a box around them."""
    rng = np.random.default_rng(config["seed"])
    anomalies = int(config["test_samples"] * config["contamination"])
    normal, _ = make_blobs(
        config["train_samples"] + config["test_samples"] - anomalies,
        n_features=config["features"],
        centers=4,
        cluster_std=2.5,
        random_state=config["seed"],
    )
    box = rng.uniform(normal.min(axis=0) * 0.8, normal.max(axis=0) * 0.8, (anomalies, config["features"]))
    test = np.vstack([normal[config["train_samples"] :], box])
    labels = np.repeat([0, 1], [len(test) - anomalies, anomalies])
    return normal[: config["train_samples"]], test, labels


def write_json(path, document):
    """Whole or not at all: a reader never sees half a file."""
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2, allow_nan=False)
    os.replace(path + ".part", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--output", required=True)
    arguments = parser.parse_args()
    config = read_config(arguments.config)
    os.makedirs(arguments.output, exist_ok=True)
    train, test, labels = generate(config)

    metrics, seconds = {}, {}
    figure, axes = plt.subplots(figsize=(5, 5))
    for name, fit in DETECTORS.items():
        began = time.perf_counter()
        scores = fit(config, train)(test)
        seconds[f"{name}_seconds"] = time.perf_counter() - began
        metrics[f"{name}_auc"] = float(roc_auc_score(labels, scores))
        axes.plot(*roc_curve(labels, scores)[:2], label=f"{name}, AUC {metrics[f'{name}_auc']:.3f}")
        print(f"{name}: AUC {metrics[f'{name}_auc']:.4f} in {seconds[f'{name}_seconds']:.2f} s", flush=True)
    best = max(DETECTORS, key=lambda name: metrics[f"{name}_auc"])
    metrics["image_auc"] = metrics[f"{best}_auc"]

    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="Detecting anomalies")
    axes.legend(loc="lower right")
    figure.savefig(os.path.join(arguments.output, "roc.png"), dpi=120)
    report = {"params": {"method": best, **config}, "metrics": metrics, "performance": seconds}
    write_json(os.path.join(arguments.output, "metrics.json"), report)


if __name__ == "__main__":
    main()
