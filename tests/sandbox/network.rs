//! Attacks over a network, and on what listens nearby.

use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

use serde_json::json;

use super::attempts::{Attempts, HIDDEN};
use super::{Level, Site};

crate::tests!(nobody_is_reached);

async fn nobody_is_reached(level: Level) {
    let site = Site::new(level, &[]).await;
    let [redis, mlflow] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port"));
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let name = format!("leadersboard-test-{}", std::process::id());
    let nameless = SocketAddr::from_abstract_name(&name).expect("an address");
    let _listener = UnixListener::bind_addr(&nameless).expect("an abstract socket");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let foreign = UnixListener::bind(elsewhere.path().join("socket")).expect("a socket");
    let port = |listener: &TcpListener| listener.local_addr().expect("an address").port();
    let url = site.board.redis_url();
    let redis_socket = url.trim_start_matches("redis+unix://").split('?').next().expect("a path");
    let targets = json!({
        "redis_port": port(&redis),
        "mlflow_port": port(&mlflow),
        "api_port": site.board.server().rsplit(':').next().and_then(|port| port.parse::<u16>().ok()),
        "udp_port": udp.local_addr().expect("an address").port(),
        "redis_socket": redis_socket,
        "abstract": name,
        "foreign_socket": elsewhere.path().join("socket"),
    });
    let job = site.submit(include_str!("programs/network.py"), &targets).await;
    site.completed(&job).await;
    let commands = [
        "Redis: PING",
        "Redis: GET x",
        "Redis: KEYS *",
        "Redis: XRANGE x - +",
        "Redis: CONFIG GET *",
        "Redis: ACL WHOAMI",
        "Redis: CLIENT LIST",
        "Redis: INFO",
        "Redis: SUBSCRIBE x",
        "Redis: MONITOR",
        "Redis: EVAL return(1) 0",
        "Redis: FUNCTION LIST",
        "Redis: HELLO 3",
        "Redis: REPLICAOF NO ONE",
        "Redis: FLUSHALL",
    ];
    Attempts::of(&site.log(&job).await).expect(&[
        (
            "EPERM",
            &[
                "Redis by TCP",
                "MLflow by TCP",
                "the API by TCP",
                "TCP over IPv6",
                "a cloud's metadata by TCP",
                "TCP fast open",
                "UDP",
                "bind a TCP port",
                "bind a UDP port",
                "bind a TCP port of IPv6",
                "netlink",
                "a packet socket",
                "a raw socket",
                "the kernel's ciphers",
                "a socket to the hypervisor",
                "a bluetooth socket",
                "a TCP socket made twice",
            ],
        ),
        ("ENOSYS", &["io_uring", "enter io_uring"]),
        ("\"[Errno -3] Temporary failure in name resolution\"", &["a name's address"]),
        // Before ABI 9 Landlock lets a program connect to a socket that it can name: Redis then asks for its password.
        (level.pick(HIDDEN, "NOAUTH"), &commands),
        (level.pick(HIDDEN, "WRONGPASS"), &["Redis: AUTH default wrong", "Redis: AUTH wrong"]),
        // Expected: neither the oldest Landlock nor seccomp can tell such a socket from one of the job's own. Nothing of
        // the service listens on one.
        (level.pick("ECONNREFUSED EPERM", "DONE"), &["an abstract socket"]),
        (
            HIDDEN,
            &["another user's socket", "the system's bus", "the container engine", "bind a socket beside Redis's"],
        ),
        ("DONE 1", &["sockets of its own"]),
    ]);
    for listener in [redis, mlflow] {
        listener.set_nonblocking(true).expect("a listener");
        assert!(listener.accept().is_err(), "somebody connected");
    }
    udp.set_nonblocking(true).expect("a socket");
    assert!(udp.recv(&mut [0; 8]).is_err(), "somebody sent");
    foreign.set_nonblocking(true).expect("a listener");
    assert!(foreign.accept().is_err(), "somebody connected");
    site.unharmed().await;
}

/// A loopback interface needs namespaces, so there is none at the floor.
#[cfg(not(feature = "faults"))]
#[tokio::test]
async fn a_job_can_ask_for_its_own_interfaces_and_change_none() {
    let site = Site::new(Level::Full, &[("NETWORK", "loopback")]).await;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let targets = json!({ "port": listener.local_addr().expect("an address").port() });
    let job = site.submit(include_str!("programs/loopback.py"), &targets).await;
    site.completed(&job).await;
    Attempts::of(&site.log(&job).await).expect(&[
        ("DONE ['lo']", &["interfaces"]),
        ("DONE connected", &["TCP with itself", "TCP over IPv6 with itself"]),
        ("ECONNREFUSED", &["the machine's port"]),
        ("ENETUNREACH", &["another machine"]),
        (
            "EPERM",
            &[
                "take the interface down",
                "add an address",
                "add a route",
                "netlink for socket diagnosis",
                "netlink for ipsec",
                "netlink for audit",
                "netlink for connector",
                "netlink for netfilter",
                "netlink for devices",
                "netlink for generic",
                "a packet socket",
            ],
        ),
    ]);
    let finished = site.board.run_alike(["doctor", "sandbox", "--json"]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    site.unharmed().await;
}
