"""What a hostile job would try, one after the other; prints a line of JSON for each.

The argument is JSON: the worker's process id, files and folders that are secret, and sockets of services.
"""
import ctypes
import errno
import json
import os
import socket
import sys

given = json.loads(sys.argv[1])
libc = ctypes.CDLL(None, use_errno=True)


def call(number, *arguments):
    """A system call by its number on this architecture."""
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *[ctypes.c_long(argument) for argument in arguments])
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def read(path):
    with open(path, "rb") as file:
        file.read(1)


def write(folder):
    path = os.path.join(folder, "leadersboard-attempt")
    with open(path, "wb"):
        pass
    os.unlink(path)


def connect(path):
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)


def attempt(what, action, *arguments):
    try:
        action(*arguments)
        answer = None
    except OSError as error:
        answer = errno.errorcode.get(error.errno, str(error.errno))
    print(json.dumps({"attempt": what, "denied": answer}), flush=True)


X86 = os.uname().machine == "x86_64"
worker = given["worker"]
for secret in given["secrets"]:
    attempt("read " + secret, os.listdir if os.path.isdir(secret) else read, secret)
attempt("read /etc/shadow", read, "/etc/shadow")
attempt("read the worker's environment", read, "/proc/%d/environ" % worker)
attempt("read the worker's memory", read, "/proc/%d/mem" % worker)
attempt("read the environment of process 1", read, "/proc/1/environ")
for folder in ["/", "/usr", "/etc", "/home"]:
    attempt("write to " + folder, write, folder)
attempt("signal the worker", os.kill, worker, 0)
attempt("trace the worker", call, 101 if X86 else 117, 16, worker, 0, 0)
attempt("change the worker's limits", call, 302 if X86 else 261, worker, 7, 0, 0)
attempt("use TCP", socket.socket, socket.AF_INET, socket.SOCK_STREAM)
attempt("use UDP", socket.socket, socket.AF_INET, socket.SOCK_DGRAM)
attempt("use netlink", socket.socket, socket.AF_NETLINK, socket.SOCK_RAW)
attempt("use other netlink", socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 12)
for path in given["sockets"]:
    attempt("connect to " + path, connect, path)
attempt("use io_uring", call, 425, 1, 0)
attempt("make a user namespace", call, 272 if X86 else 97, 0x10000000)
attempt("mount", call, 165 if X86 else 40, 0, 0, 0, 0, 0)
attempt("change the root", call, 161 if X86 else 51, 0)
attempt("use the kernel's keys", call, 250 if X86 else 219, 0, -1, 0)
attempt("load a program into the kernel", call, 321 if X86 else 280, 0, 0, 0)
attempt("measure other processes", call, 298 if X86 else 241, 0, -1, -1, -1, 0)
attempt("become root", os.setuid, 0)
attempt("make a device", os.mknod, "device", 0o600 | 0o020000, os.makedev(1, 8))
