"""Prints, as JSON, all runs of an experiment as the Python client of MLflow finds them.

    read_back.py ADDRESS EXPERIMENT

Names and values are what the job called them: the tags `leadersboard.originals.*` and `leadersboard.rest.*` tell what
MLflow would not take. Numbers are told by their bits, files by their digest.
"""

import hashlib
import json
import os
import struct
import sys
import tempfile
import time


def main(address, name):
    begun = time.monotonic()
    from mlflow import MlflowClient
    from mlflow.entities import ViewType

    imported = time.monotonic()
    client = MlflowClient(address)
    experiment = client.get_experiment_by_name(name)
    runs = []
    if experiment is not None:
        token = None
        while token is None or token:
            page = client.search_runs([experiment.experiment_id], run_view_type=ViewType.ALL, page_token=token)
            runs += [told(client, run) for run in page]
            token = page.token or ""
    document = {
        "experiment_id": experiment and experiment.experiment_id,
        "runs": runs,
        "import_seconds": imported - begun,
    }
    json.dump(document, sys.stdout)


def told(client, run):
    tags = run.data.tags
    metrics, params, artifacts = [originals(tags, kind) for kind in ("metrics", "params", "artifacts")]
    return {
        "run_id": run.info.run_id,
        "name": run.info.run_name,
        "status": run.info.status,
        "lifecycle": run.info.lifecycle_stage,
        "start_time": run.info.start_time,
        "end_time": run.info.end_time,
        "user": run.info.user_id,
        "params": dict(param(tags, params, name, value) for name, value in run.data.params.items()),
        "metrics": dict(metric(metrics, name, value) for name, value in run.data.metrics.items()),
        "points": {name: len(client.get_metric_history(run.info.run_id, name)) for name in list(run.data.metrics)[:3]},
        "tags": tags,
        "artifacts": {artifacts.get(path, {}).get("name", path): file for path, file in files(client, run).items()},
    }


def originals(tags, kind):
    """What the tags say of names that MLflow would not take, by the name it has."""
    prefix = f"leadersboard.originals.{kind}"
    found = {}
    for tag, value in tags.items():
        if tag == prefix or tag.startswith(prefix + "."):
            found.update(json.loads(value))
    return found


def metric(originals, name, value):
    original = originals.get(name, {})
    if "value" in original:
        # A zero has lost its sign, a large integer its last digits.
        value = float(original["value"])
    return original.get("name", name), {"bits": struct.pack(">d", value).hex(), "value": repr(value)}


def param(tags, originals, name, value):
    original = originals.get(name, {})
    if "rest" in original:
        value += pieces(tags, original["rest"])
    if "json" in original:
        value = json.loads(pieces(tags, original["json"]))
    return original.get("name", name), value


def pieces(tags, name):
    """A text that was too long for one tag."""
    text, number = "", 1
    while (piece := tags.get(f"{name}.{number}")) is not None:
        text, number = text + piece, number + 1
    return text


def files(client, run):
    """Every file, downloaded."""
    import mlflow.artifacts

    if not client.list_artifacts(run.info.run_id):
        return {}
    found = {}
    with tempfile.TemporaryDirectory(prefix="lb-read-back-") as folder:
        root = mlflow.artifacts.download_artifacts(
            run_id=run.info.run_id, artifact_path="", dst_path=folder, tracking_uri=client.tracking_uri
        )
        for parent, _, names in os.walk(root):
            for name in names:
                path = os.path.join(parent, name)
                with open(path, "rb") as file:
                    content = file.read()
                digest = hashlib.sha256(content).hexdigest()
                found[os.path.relpath(path, root)] = {"bytes": len(content), "sha256": digest}
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
