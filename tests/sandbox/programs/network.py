import socket

LOCAL = "127.0.0.1"


def tcp(port, host=LOCAL, family=socket.AF_INET):
    """Connects."""
    with socket.socket(family, socket.SOCK_STREAM) as stream:
        stream.settimeout(3)
        stream.connect((host, port))
        return "connected"


def bind(family, kind, address):
    """Listens on an address."""
    with socket.socket(family, kind) as stream:
        stream.bind(address)
        if kind == socket.SOCK_STREAM:
            stream.listen()
        return "bound"


def made(*arguments):
    """Makes a socket."""
    socket.socket(*arguments).close()
    return "made"


attempt("Redis by TCP", lambda: tcp(TARGETS["redis_port"]))
attempt("MLflow by TCP", lambda: tcp(TARGETS["mlflow_port"]))
attempt("the API by TCP", lambda: tcp(TARGETS["api_port"]))
attempt("TCP over IPv6", lambda: tcp(TARGETS["redis_port"], "::1", socket.AF_INET6))
attempt("a cloud's metadata by TCP", lambda: tcp(80, "169.254.169.254"))


def udp():
    """Sends a datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        return datagrams.sendto(b"x", (LOCAL, TARGETS["udp_port"]))


attempt("UDP", udp)
attempt("TCP fast open", lambda: socket.socket(socket.AF_INET).sendto(b"x", 0x20000000, (LOCAL, TARGETS["redis_port"])))
attempt("a name's address", lambda: socket.getaddrinfo("example.org", 443))
attempt("bind a TCP port", lambda: bind(socket.AF_INET, socket.SOCK_STREAM, (LOCAL, 0)))
attempt("bind a UDP port", lambda: bind(socket.AF_INET, socket.SOCK_DGRAM, (LOCAL, 0)))
attempt("bind a TCP port of IPv6", lambda: bind(socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)))
attempt("netlink", lambda: bind(socket.AF_NETLINK, socket.SOCK_RAW, (0, 0)))
attempt("a packet socket", lambda: made(socket.AF_PACKET, socket.SOCK_RAW, 0))
attempt("a raw socket", lambda: made(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("the kernel's ciphers", lambda: made(socket.AF_ALG, socket.SOCK_SEQPACKET, 0))
attempt("a socket to the hypervisor", lambda: made(socket.AF_VSOCK, socket.SOCK_STREAM, 0))
attempt("a bluetooth socket", lambda: made(31, socket.SOCK_RAW, 1))
attempt("a TCP socket made twice", lambda: [end.close() for end in socket.socketpair(socket.AF_INET)])
attempt("io_uring", lambda: system_call(425, 8, ctypes.create_string_buffer(120)))
attempt("enter io_uring", lambda: system_call(426, -1, 0, 0, 0))


def redis(*words):
    """Says something to Redis by its UNIX socket, and gives the answer."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(3)
        stream.connect(TARGETS["redis_socket"])
        request = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
        stream.sendall(request.encode())
        answer = stream.recv(200).decode(errors="replace").strip()
    if answer.startswith(("-NOAUTH", "-WRONGPASS")):
        raise Refused(answer[1:].split()[0])
    return answer


for words in (
    "PING",
    "GET x",
    "KEYS *",
    "XRANGE x - +",
    "CONFIG GET *",
    "ACL WHOAMI",
    "CLIENT LIST",
    "INFO",
    "SUBSCRIBE x",
    "MONITOR",
    "EVAL return(1) 0",
    "FUNCTION LIST",
    "HELLO 3",
    "AUTH default wrong",
    "AUTH wrong",
    "REPLICAOF NO ONE",
    "FLUSHALL",
):
    attempt(f"Redis: {words}", lambda: redis(*words.split()))


def unix(address):
    """Connects to a UNIX socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(3)
        stream.connect(address)
        return "connected"


attempt("an abstract socket", lambda: unix("\0" + TARGETS["abstract"]))
attempt("another user's socket", lambda: unix(TARGETS["foreign_socket"]))
attempt("the system's bus", lambda: unix("/run/dbus/system_bus_socket"))
attempt("the container engine", lambda: unix("/var/run/docker.sock"))
attempt("bind a socket beside Redis's", lambda: bind(socket.AF_UNIX, socket.SOCK_STREAM, TARGETS["redis_socket"] + "2"))


def own_sockets():
    """What data loaders need: sockets among its own processes."""
    ours, theirs = socket.socketpair()
    socket.send_fds(ours, [b"x"], [0])
    received = socket.recv_fds(theirs, 1, 1)
    path = os.path.join(os.environ["TMPDIR"], "own")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        with socket.socket(socket.AF_UNIX) as stream:
            stream.connect(path)
    return len(received[1])


attempt("sockets of its own", own_sockets)
complete()
