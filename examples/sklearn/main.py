"""Compares Isolation Forest with Local Outlier Factor on generated data and draws their ROC curves."""

import argparse
import json
import os
import time

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import make_blobs
from sklearn.metrics import roc_auc_score, roc_curve

from detectors import DETECTORS


def read_config(path):
    """Reads `key: number` lines."""
    config = {}
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            line = line.split("#", 1)[0].strip()
            if line:
                key, _, value = line.partition(":")
                config[key.strip()] = float(value) if "." in value else int(value)
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


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True)
    parser.add_argument("--output", required=True)
    arguments = parser.parse_args()
    config = read_config(arguments.config)
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
    with open(os.path.join(arguments.output, "metrics.json"), "w", encoding="utf-8") as file:
        json.dump({"params": {"method": best, **config}, "metrics": metrics, "performance": seconds}, file, indent=2)


if __name__ == "__main__":
    main()
