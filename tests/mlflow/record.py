"""Records one run as a training program would, by the Python client of MLflow, and prints as JSON how long that took.

    record.py ADDRESS EXPERIMENT METRICS_JSON FOLDER

METRICS_JSON is a file with `params` and `metrics`, FOLDER holds the files.
"""

import json
import sys
import time


def main(address, experiment, metrics_json, folder):
    begun = time.monotonic()
    import mlflow

    imported = time.monotonic()
    with open(metrics_json) as file:
        report = json.load(file)
    mlflow.set_tracking_uri(address)
    mlflow.set_experiment(experiment)
    with mlflow.start_run():
        mlflow.log_params(report["params"])
        mlflow.log_metrics(report["metrics"])
        mlflow.log_artifacts(folder)
    recorded = time.monotonic()
    json.dump({"import_seconds": imported - begun, "record_seconds": recorded - imported}, sys.stdout)


if __name__ == "__main__":
    main(*sys.argv[1:])
