import socket
import struct

ROUTE = 0
NEW_LINK, NEW_ADDRESS, NEW_ROUTE = 16, 20, 24
OTHERS = {"socket diagnosis": 4, "ipsec": 6, "audit": 9, "connector": 11, "netfilter": 12, "devices": 15, "generic": 16}


def interfaces():
    """The names that `getifaddrs` tells."""
    first = ctypes.c_void_p()
    checked(LIBC.getifaddrs(ctypes.byref(first)))
    names, entry = set(), first.value
    while entry:
        following, name = struct.unpack("QQ", ctypes.string_at(entry, 16))
        names.add(ctypes.string_at(name).decode())
        entry = following
    return sorted(names)


def connected(family, address):
    """Connects to itself."""
    with socket.socket(family) as listener:
        listener.bind((address, 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()[:2], 3):
            return "connected"


def ask(kind, body):
    """Asks the kernel to change something, and gives its refusal."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, ROUTE) as kernel:
        request, acknowledged = 1, 4
        kernel.send(struct.pack("IHHII", 16 + len(body), kind, request | acknowledged, 1, 0) + body)
        number = -struct.unpack_from("i", kernel.recv(4096), 16)[0]
    if number:
        raise OSError(number, os.strerror(number))
    return "changed"


def made(protocol):
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol).close()
    return "made"


attempt("interfaces", interfaces)
attempt("TCP with itself", lambda: connected(socket.AF_INET, "127.0.0.1"))
attempt("TCP over IPv6 with itself", lambda: connected(socket.AF_INET6, "::1"))
attempt("the machine's port", lambda: socket.create_connection(("127.0.0.1", TARGETS["port"]), 3))
attempt("another machine", lambda: socket.create_connection(("192.0.2.1", 80), 3))
attempt("take the interface down", lambda: ask(NEW_LINK, struct.pack("BBHiII", 0, 0, 0, 1, 0, 1)))
attempt("add an address", lambda: ask(NEW_ADDRESS, struct.pack("BBBBI", 2, 32, 0, 0, 1) + struct.pack("HH4s", 8, 2, b"\x0a\0\0\1")))
attempt("add a route", lambda: ask(NEW_ROUTE, struct.pack("BBBBBBBBI", 2, 0, 0, 0, 254, 4, 0, 1, 0)))
for name, protocol in OTHERS.items():
    attempt(f"netlink for {name}", lambda: made(protocol))
attempt("a packet socket", lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0))
complete()
