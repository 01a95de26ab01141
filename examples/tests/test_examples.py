"""Checks that what the examples report is true."""

import atexit
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

EXAMPLES = pathlib.Path(__file__).parent.parent


def run(name, **changes):
    """Runs an example with some values of its config changed; gives its metrics.json and its output directory."""
    folder = EXAMPLES / name
    lines = (folder / "config.yaml").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line.split(":")[0] not in changes]
    output = pathlib.Path(tempfile.mkdtemp(prefix="lb-example-"))
    atexit.register(shutil.rmtree, output, ignore_errors=True)
    config = output / "config.yaml"
    config.write_text("\n".join(kept + [f"{key}: {value}" for key, value in changes.items()]), encoding="utf-8")
    command = [sys.executable, "-B", "main.py", "--config", config, "--output", output]
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    report = json.loads((output / "metrics.json").read_text(encoding="utf-8"))
    auc = report["metrics"]["image_auc"]
    print(f"{name} {changes}: image_auc {auc:.4f} in {time.perf_counter() - began:.1f} s", flush=True)
    return report, output


class Quickstart(unittest.TestCase):
    def test_its_auc_is_good_and_moves_with_the_seed(self):
        aucs = [run("quickstart", seed=seed)[0]["metrics"]["image_auc"] for seed in (0, 1, 2)]
        for auc in aucs:
            self.assertGreater(auc, 0.8)
            self.assertLess(auc, 1.0)
        self.assertEqual(len(set(aucs)), 3)

    def test_it_is_the_same_for_the_same_seed(self):
        first, second = (run("quickstart", epochs=2)[0]["metrics"] for _ in range(2))
        self.assertEqual(first, second)

    def test_shuffled_labels_leave_nothing_to_find(self):
        for seed in (0, 1, 2):
            auc = run("quickstart", seed=seed, epochs=4, shuffle_labels="true")[0]["metrics"]["image_auc"]
            self.assertAlmostEqual(auc, 0.5, delta=0.06)

    def test_it_reports_what_it_was_given_and_what_it_cost(self):
        report, _ = run("quickstart", epochs=1)
        self.assertEqual(report["params"]["epochs"], 1)
        self.assertGreater(report["performance"]["train_seconds"], 0)


    def test_it_learns(self):
        early, late = (run("quickstart", epochs=epochs)[0]["metrics"] for epochs in (1, 10))
        self.assertGreater(late["image_auc"], early["image_auc"] + 0.05)

    def test_shuffling_changes_the_labels_and_nothing_else(self):
        plain, shuffled = (run("quickstart", epochs=2, shuffle_labels=s)[0]["metrics"] for s in ("false", "true"))
        self.assertEqual(plain["train_loss"], shuffled["train_loss"])
        self.assertNotEqual(plain["image_auc"], shuffled["image_auc"])

    def test_a_config_it_does_not_understand_is_refused(self):
        for change in ({"sead": 7}, {"layers": "[16, 3]"}, {"seed": 7.5}, {"noise": "nan"}, {"shuffle_labels": "yes"}):
            with self.subTest(change), self.assertRaises(subprocess.CalledProcessError):
                run("quickstart", epochs=1, **change)


class Sklearn(unittest.TestCase):
    def setUp(self):
        try:
            import matplotlib, sklearn  # noqa: F401
        except ImportError as error:
            self.fail(f"{error}: run the tests with the environment that `make test` makes")

    def test_it_compares_two_detectors_and_draws_them(self):
        report, output = run("sklearn")
        metrics = report["metrics"]
        self.assertGreater(metrics["image_auc"], 0.8)
        self.assertEqual(metrics["image_auc"], max(metrics["isolation_forest_auc"], metrics["lof_auc"]))
        self.assertEqual((output / "roc.png").read_bytes()[:8], b"\x89PNG\r\n\x1a\n")


if __name__ == "__main__":
    unittest.main()
