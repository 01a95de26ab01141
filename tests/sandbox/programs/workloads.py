"""Ordinary work of a submission, one kind a job. It is written as people write it, with no regard to any sandbox."""


def numpy_arrays():
    import numpy

    numbers = numpy.random.default_rng(1).normal(size=(400, 400))
    q, _ = numpy.linalg.qr(numbers)
    mapped = numpy.memmap("mapped.bin", dtype="float64", mode="w+", shape=(1000,))
    mapped[:] = 1.0
    mapped.flush()
    return float(numpy.abs(q @ q.T - numpy.eye(400)).max()) < 1e-8 and mapped.sum() == 1000


def scikit_learn():
    from joblib import Memory, Parallel, delayed
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.model_selection import GridSearchCV, cross_val_score

    x, y = load_iris(return_X_y=True)
    scores = cross_val_score(RandomForestClassifier(n_estimators=10, n_jobs=2, random_state=1), x, y, cv=3, n_jobs=2)
    search = GridSearchCV(RandomForestClassifier(random_state=1), {"n_estimators": [2, 5]}, cv=2, n_jobs=2).fit(x, y)
    by_threads = Parallel(n_jobs=2, prefer="threads")(delayed(abs)(-n) for n in range(10))
    cached = Memory("cache", verbose=0).cache(len)("four")
    return scores.mean() > 0.9 and search.best_score_ > 0.9 and by_threads == list(range(10)) and cached == 4


def square(number):
    return number * number


def pools():
    import concurrent.futures
    import multiprocessing

    found = []
    for method in ("fork", "spawn", "forkserver"):
        context = multiprocessing.get_context(method)
        with context.Pool(2) as pool:
            found.append(pool.map(square, range(20)))
    with concurrent.futures.ProcessPoolExecutor(2) as executor:
        found.append(list(executor.map(square, range(20))))
    with multiprocessing.Manager() as manager:
        shared = manager.dict()
        child = multiprocessing.Process(target=shared.update, args=({"a": 1},))
        child.start()
        child.join()
        managed = dict(shared)
    return all(one == [n * n for n in range(20)] for one in found) and managed == {"a": 1}


def load(indices, batches, stop):
    """A worker of a data loader: makes batches in shared memory, and passes them on."""
    import os
    from multiprocessing import reduction, shared_memory

    for index in iter(indices.get, None):
        named = shared_memory.SharedMemory(create=True, size=1 << 16)
        named.buf[:4] = index.to_bytes(4, "little")
        unnamed = os.memfd_create(f"batch-{index}")
        os.write(unnamed, index.to_bytes(4, "little"))
        batches.put((named.name, reduction.DupFd(unnamed)))
        named.close()
    stop.wait()


def data_loader():
    import mmap
    import multiprocessing
    import os
    from multiprocessing import shared_memory

    indices, batches, stop = multiprocessing.Queue(), multiprocessing.Queue(), multiprocessing.Event()
    loaders = [multiprocessing.Process(target=load, args=(indices, batches, stop), daemon=True) for _ in range(2)]
    for loader in loaders:
        loader.start()
    for index in range(16):
        indices.put(index)
    found = set()
    for _ in range(16):
        name, descriptor = batches.get(timeout=30)
        named = shared_memory.SharedMemory(name)
        number = int.from_bytes(named.buf[:4], "little")
        named.close()
        named.unlink()
        received = descriptor.detach()
        with mmap.mmap(received, 4, prot=mmap.PROT_READ) as mapped:
            found.add((number, int.from_bytes(mapped[:4], "little")))
        os.close(received)
    for _ in loaders:
        indices.put(None)
    stop.set()
    for loader in loaders:
        loader.join(10)
    lock = multiprocessing.Value("i", 3)
    with lock.get_lock():
        lock.value += 1
    array = multiprocessing.Array("d", [1.0, 2.0])
    return found == {(n, n) for n in range(16)} and lock.value == 4 and sum(array) == 3.0


def subprocesses():
    import os
    import shutil
    import subprocess
    import sys

    listed = subprocess.run("ls /usr | wc -l", shell=True, capture_output=True, text=True, check=True).stdout
    version = subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True, text=True, check=True).stdout
    with open("tool.sh", "w", encoding="ascii") as script:
        script.write("#!/bin/sh\necho tool $1\n")
    os.chmod("tool.sh", 0o755)
    tool = subprocess.run(["./tool.sh", "runs"], capture_output=True, text=True, check=True).stdout
    piped = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    echoed, _ = piped.communicate(b"through", timeout=10)
    printed = subprocess.run(["sh", "-c", "echo to the log > /dev/stdout; echo to nowhere > /dev/null"], check=False)
    shutil.copytree(".", "/tmp/copy" if os.environ["TMPDIR"] == "/tmp" else os.path.join(os.environ["TMPDIR"], "copy"))
    return (int(listed) > 3 and version == "42\n" and tool == "tool runs\n" and echoed == b"through"
            and printed.returncode == 0)


def threads():
    import os
    import queue
    import threading

    count = 4 * (os.cpu_count() or 1) + 32
    barrier, results = threading.Barrier(count), queue.Queue()

    def run(number):
        barrier.wait(30)
        results.put(sum(range(number)))

    workers = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return results.qsize() == count and len(os.sched_getaffinity(0)) == TARGETS["cores"]


def plots():
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 1)
    axes[0].plot([1, 2, 3], [1, 4, 9], label="ünï ∫")
    axes[0].legend()
    axes[1].imshow([[1, 2], [3, 4]])
    path = os.path.join(OUTPUT, "plot_heatmap.png")
    figure.savefig(path)
    with open(path, "rb") as file:
        return file.read(4) == b"\x89PNG"


def databases():
    import sqlite3

    connection = sqlite3.connect("data.db")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("CREATE TABLE t (a INTEGER)")
    with connection:
        connection.executemany("INSERT INTO t VALUES (?)", [(n,) for n in range(1000)])
    other = sqlite3.connect("data.db")
    return other.execute("SELECT sum(a) FROM t").fetchone()[0] == 499500


def temporary_files():
    import shutil
    import tempfile

    with tempfile.TemporaryFile() as unnamed, tempfile.NamedTemporaryFile() as named:
        unnamed.write(b"x")
        named.write(b"x")
    folder = tempfile.mkdtemp()
    with open(os.path.join(folder, "file"), "w", encoding="ascii") as file:
        file.write("x")
    shutil.move(os.path.join(folder, "file"), os.path.join(OUTPUT, "file"))
    shutil.rmtree(folder)
    home = os.path.expanduser("~/.cache/torch")
    os.makedirs(home)
    with open(os.path.join(home, "model"), "w", encoding="ascii") as file:
        file.write("x")
    return tempfile.gettempdir() == os.environ["TMPDIR"] and len(os.environ["TMPDIR"]) < 80


def places_and_times():
    import datetime
    import getpass
    import grp
    import locale
    import pwd
    import socket
    import ssl
    import time
    import uuid
    import zoneinfo

    locale.setlocale(locale.LC_ALL, "")
    berlin = datetime.datetime(2026, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin"))
    os.environ["TZ"] = "Asia/Tokyo"
    time.tzset()
    print("Zeichen: äöü ∫ 漢字")
    return (locale.getpreferredencoding().upper() == "UTF-8" and berlin.utcoffset() == datetime.timedelta(hours=2)
            and time.tzname[0] == "JST" and len(getpass.getuser()) > 0 and len(socket.gethostname()) > 0
            and uuid.uuid4() != uuid.uuid4() and pwd.getpwnam("root").pw_uid == 0 and grp.getgrgid(0).gr_name == "root"
            and ssl.create_default_context() is not None and len(os.urandom(16)) == 16)


def own_process():
    """What libraries ask of the process they are in."""
    import faulthandler
    import gc
    import resource
    import signal
    import threading

    faulthandler.enable()
    caught = threading.Event()
    signal.signal(signal.SIGUSR1, lambda *_: caught.set())
    os.kill(os.getpid(), signal.SIGUSR1)
    os.nice(1)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.sched_setaffinity(0, os.sched_getaffinity(0))
    os.setpriority(os.PRIO_PROCESS, 0, 5)
    resource.prlimit(0, resource.RLIMIT_CORE)
    with open("/proc/self/status", encoding="ascii") as status, open("/proc/meminfo", encoding="ascii") as memory:
        read_all = "VmRSS" in status.read() and "MemTotal" in memory.read()
    with open("/proc/cpuinfo", encoding="utf-8") as processors:
        read_all = read_all and "processor" in processors.read()
    gc.collect()
    return caught.wait(5) and read_all and hard >= 4096


if __name__ == "__main__":
    work = TARGETS["work"]
    if not {
        "numpy": numpy_arrays,
        "scikit-learn": scikit_learn,
        "pools": pools,
        "data loader": data_loader,
        "subprocesses": subprocesses,
        "threads": threads,
        "plots": plots,
        "databases": databases,
        "temporary files": temporary_files,
        "places and times": places_and_times,
        "own process": own_process,
    }[work]():
        sys.exit(f"{work}: not what it should be")
    complete()
