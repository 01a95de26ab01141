"""Keeps one MLflow server for all tests of a run, and ends it when nobody is left who could use it.

    shared_server.py MLFLOW FOLDER PID

Whoever uses the server holds a shared lock on FOLDER/users, which the kernel gives back however a process ends. While
nobody does, this process takes the lock for itself, says in FOLDER/address where the server is no more, ends it, and
ends. It does so at once when process PID, which runs the tests, is gone, and else after a while: more tests may come.
"""

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

START_SECONDS = 120
IDLE_SECONDS = 60
LOOK_SECONDS = 0.2


def main(mlflow, folder, runner):
    # What ends the test that needed the server first does not end the server.
    os.setsid()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    runner = Runner(int(runner))
    with tempfile.TemporaryDirectory(prefix="lb-mlflow-") as data, open(os.path.join(folder, "users"), "a") as users:
        with server(mlflow, data) as (process, address):
            wait_for(process, address)
            tell(folder, address)
            try:
                wait_for_last(users, process, runner)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(os.path.join(folder, "address"))


@contextlib.contextmanager
def server(mlflow, data):
    port = free_port()
    environment = dict(
        os.environ,
        MLFLOW_DISABLE_TELEMETRY="true",
        DO_NOT_TRACK="true",
        # Nine more processes of 250 MB each, for what nobody asks for here.
        MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
    )
    command = [mlflow, "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1", "--serve-artifacts"]
    command += ["--backend-store-uri", f"sqlite:///{data}/mlflow.db", "--artifacts-destination", f"{data}/artifacts"]
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", *command],
        cwd=data,
        env=environment,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield process, f"http://127.0.0.1:{port}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for(process, address):
    """Waits until the API answers; the health check does so before it."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with contextlib.suppress(OSError):
            query = "/api/2.0/mlflow/experiments/get-by-name?experiment_name=Default"
            with urllib.request.urlopen(address + query, timeout=10) as answer:
                if answer.status == 200:
                    return
        time.sleep(LOOK_SECONDS)
    sys.exit("MLflow did not come up")


def tell(folder, address):
    new = os.path.join(folder, "address.new")
    with open(new, "w") as file:
        file.write(address)
    os.rename(new, os.path.join(folder, "address"))


def wait_for_last(users, process, runner):
    """Returns, with the lock, when nobody uses the server and nobody will; or when the server ended."""
    idle_since = time.monotonic()
    while process.poll() is None:
        try:
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            idle_since = time.monotonic()
        else:
            if not runner.is_alive() or time.monotonic() - idle_since > IDLE_SECONDS:
                return
            fcntl.flock(users, fcntl.LOCK_UN)
        time.sleep(LOOK_SECONDS)


class Runner:
    """A process, told from a later one of the same id by when it began."""

    def __init__(self, pid):
        self.pid = pid
        self.began = self._began()

    def is_alive(self):
        return self.began is not None and self._began() == self.began

    def _began(self):
        try:
            with open(f"/proc/{self.pid}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            return None
        # One that nobody has waited for yet has ended too.
        return None if fields[0] in "ZX" else fields[19]


if __name__ == "__main__":
    main(*sys.argv[1:])
