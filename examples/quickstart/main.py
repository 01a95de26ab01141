"""Trains a linear autoencoder on normal samples and scores anomalies by their reconstruction error.

Only the standard library is used. The samples are generated from the config's seed: normal ones lie near a
low-dimensional plane, anomalies are pushed off it. No number below is fixed in advance; with `shuffle_labels: true`
the labels of the evaluation set are shuffled and the AUC falls to about one half.
"""

import argparse
import json
import os
import random
import resource
import time


def read_config(path):
    """Reads `key: value` lines: integers, floats, true, false, or words. Anything else is an error."""
    config = {}
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            line = line.split("#", 1)[0].strip()
            if not line:
                continue
            key, colon, value = (part.strip() for part in line.partition(":"))
            if not colon or not key or not value:
                raise SystemExit(f"{path}, line {number}: expected `key: value`, found {line!r}")
            config[key] = parse(value)
    return config


def parse(text):
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


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
        json.dump(document, file, indent=2)
    os.replace(path + ".part", path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="the YAML file with the run's parameters")
    parser.add_argument("--output", required=True, help="the directory for metrics.json")
    arguments = parser.parse_args()
    config = read_config(arguments.config)

    rng = random.Random(config["seed"])
    features, latent = config["features"], config["latent"]
    plane = Plane(rng, features, latent, config["noise"])
    train = [plane.normal() for _ in range(config["train_samples"])]
    half = config["test_samples"] // 2
    test = [plane.normal() for _ in range(half)] + [plane.anomaly(config["push"]) for _ in range(half)]
    labels = [0] * half + [1] * half
    if config["shuffle_labels"]:
        rng.shuffle(labels)

    model = Autoencoder(rng, features, latent)
    began = time.perf_counter()
    loss = float("nan")
    for epoch in range(1, config["epochs"] + 1):
        rng.shuffle(train)
        loss = sum(model.learn(sample, config["learning_rate"]) for sample in train) / len(train)
        auc = roc_auc([model.score(sample) for sample in test], labels)
        print(f"epoch {epoch:2}/{config['epochs']}  loss {loss:.4f}  image_auc {auc:.4f}", flush=True)
    seconds = time.perf_counter() - began

    write_json(
        os.path.join(arguments.output, "metrics.json"),
        {
            "params": {"method": "linear autoencoder", **config},
            "metrics": {"image_auc": auc, "train_loss": loss},
            "performance": {
                "train_seconds": seconds,
                "samples_per_second": len(train) * config["epochs"] / seconds,
                "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            },
        },
    )


if __name__ == "__main__":
    main()
