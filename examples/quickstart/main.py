"""Trains a linear autoencoder on normal samples and scores anomalies by their reconstruction error.

Only the standard library is used. The samples are generated from the config's seed: normal ones lie near a
low-dimensional plane, anomalies are pushed off it. No number below is fixed in advance; with `shuffle_labels: true`
the labels of the evaluation set are shuffled and the AUC falls to about one half.
"""

import argparse
import json
import math
import os
import random
import re
import resource
import time

# What config.yaml must hold: every key, and no other.
KINDS = {
    "seed": int,
    "features": int,
    "latent": int,
    "noise": float,
    "push": float,
    "train_samples": int,
    "test_samples": int,
    "epochs": int,
    "learning_rate": float,
    "shuffle_labels": bool,
}
LINE = re.compile(r"(\w+):\s+(\S+)(?:\s+#.*)?\s*")


def read_config(path):
    """Reads flat `key: value` lines, the part of YAML that needs no library. Anything else is refused by its line."""
    config = {}
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            where = f"{path}, line {number}"
            match = LINE.fullmatch(line)
            if not match:
                raise SystemExit(f"{where}: expected `key: value`, found {line.strip()!r}")
            key, text = match.groups()
            if key not in KINDS or key in config:
                raise SystemExit(f"{where}: {key!r} is {'given twice' if key in config else 'not a known key'}")
            try:
                config[key] = parse(text, KINDS[key])
            except ValueError:
                raise SystemExit(f"{where}: {key} can't be {text!r}") from None
    missing = [key for key in KINDS if key not in config]
    if missing:
        raise SystemExit(f"{path}: {', '.join(missing)} not given")
    if config["epochs"] < 1 or config["train_samples"] < 1 or config["test_samples"] < 2 or config["features"] < 1:
        raise SystemExit(f"{path}: at least 1 epoch, 1 feature, 1 training sample and 2 test samples are needed")
    return config


def parse(text, kind):
    if kind is bool:
        if text not in ("true", "false"):
            raise ValueError(text)
        return text == "true"
    number = kind(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


class Plane:
    """Normal samples lie near a random plane of `latent` dimensions in `features` dimensions."""

    def __init__(self, rng, features, latent, noise):
        self.rng, self.noise = rng, noise
        self.axes = [[rng.gauss(0, 1) / latent**0.5 for _ in range(latent)] for _ in range(features)]

    def normal(self):
        place = [self.rng.gauss(0, 1) for _ in self.axes[0]]
        return [dot(axis, place) + self.rng.gauss(0, self.noise) for axis in self.axes]

    def anomaly(self, push):
        away = [self.rng.gauss(0, 1) for _ in self.axes]
        length = dot(away, away) ** 0.5
        return [value + push * step / length for value, step in zip(self.normal(), away)]


class Autoencoder:
    """Encodes to `latent` numbers by one matrix and decodes by its transpose, trained by gradient descent."""

    def __init__(self, rng, features, latent):
        self.weights = [[rng.gauss(0, 0.1) for _ in range(features)] for _ in range(latent)]

    def residual(self, sample):
        code = [dot(row, sample) for row in self.weights]
        rebuilt = [dot(code, column) for column in zip(*self.weights)]
        return code, [value - other for value, other in zip(sample, rebuilt)]

    def score(self, sample):
        _, residual = self.residual(sample)
        return dot(residual, residual)

    def learn(self, sample, rate):
        code, residual = self.residual(sample)
        for row, value in zip(self.weights, code):
            back = dot(row, residual)
            for i, (error, feature) in enumerate(zip(residual, sample)):
                row[i] += rate * (value * error + back * feature)
        return dot(residual, residual)


def dot(left, right):
    return sum(a * b for a, b in zip(left, right))


def roc_auc(scores, labels):
    """The probability that an anomaly scores above a normal sample; ties count half (Mann-Whitney U)."""
    ranked = sorted(zip(scores, labels))
    rank_sum, i = 0.0, 0
    while i < len(ranked):
        j = i
        while j < len(ranked) and ranked[j][0] == ranked[i][0]:
            j += 1
        rank_sum += (i + j + 1) / 2 * sum(label for _, label in ranked[i:j])
        i = j
    positives = sum(labels)
    return (rank_sum - positives * (positives + 1) / 2) / (positives * (len(labels) - positives))


def write_json(path, document):
    """Whole or not at all: a reader never sees half a file."""
    with open(path + ".part", "w", encoding="utf-8") as file:
        json.dump(document, file, indent=2, allow_nan=False)
    os.replace(path + ".part", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="the YAML file with the run's parameters")
    parser.add_argument("--output", required=True, help="the directory for metrics.json")
    arguments = parser.parse_args()
    config = read_config(arguments.config)
    os.makedirs(arguments.output, exist_ok=True)

    rng = random.Random(config["seed"])
    features, latent = config["features"], config["latent"]
    plane = Plane(rng, features, latent, config["noise"])
    train = [plane.normal() for _ in range(config["train_samples"])]
    half = config["test_samples"] // 2
    test = [plane.normal() for _ in range(half)] + [plane.anomaly(config["push"]) for _ in range(half)]
    labels = [0] * half + [1] * half
    if config["shuffle_labels"]:
        # A generator of its own: the samples and the model stay what they are without the shuffle.
        random.Random(f"labels of {config['seed']}").shuffle(labels)

    model = Autoencoder(rng, features, latent)
    seconds = 0.0
    for epoch in range(1, config["epochs"] + 1):
        rng.shuffle(train)
        began = time.perf_counter()
        loss = sum(model.learn(sample, config["learning_rate"]) for sample in train) / len(train)
        seconds += time.perf_counter() - began
        if not math.isfinite(loss):
            raise SystemExit(f"the training diverged in epoch {epoch}: lower learning_rate")
        auc = roc_auc([model.score(sample) for sample in test], labels)
        print(f"epoch {epoch:2}/{config['epochs']}  loss {loss:.4f}  image_auc {auc:.4f}", flush=True)

    write_json(
        os.path.join(arguments.output, "metrics.json"),
        {
            "params": {"method": "linear autoencoder", **config},
            "metrics": {"image_auc": auc, "train_loss": loss},
            "performance": {
                "train_seconds": seconds,
                "samples_per_second": len(train) * config["epochs"] / seconds,
                "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,  # Linux counts KiB
            },
        },
    )


if __name__ == "__main__":
    main()
