//! The download of an artifact beside nginx, which serves the same file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use leadersboard_tests::board::{ALICE, Board, Process};
use leadersboard_tests::client::Client;
use tempfile::TempDir;

use crate::footprint::rss_mib;
use crate::statistics::median;

const ROUNDS: usize = 7;
const MIB: u64 = 256;

pub(crate) async fn print() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let program = format!(
        "import json, os, sys\nout = sys.argv[sys.argv.index('--output') + 1]\n\
         with open(os.path.join(out, 'model.bin'), 'wb') as file:\n    for _ in range({MIB}):\n        \
         file.write(os.urandom(1 << 20))\n\
         json.dump({{'params': {{}}, 'metrics': {{}}}}, open(os.path.join(out, 'metrics.json'), 'w'))\n"
    );
    let job = alice.run(&program).await;
    alice.wait_for(&job, "completed").await;
    let file = find(&board.data().join("artifacts"), "model.bin").expect("the artifact");
    let nginx = Nginx::serving(file.parent().expect("its folder"));
    let ours = format!("{}/jobs/{job}/artifacts/model.bin", board.server());
    let theirs = format!("http://127.0.0.1:{}/model.bin", nginx.port);
    let (mut a, mut b) = (Vec::new(), Vec::new());
    let before = rss_mib(board.pid().as_raw());
    for _ in 0..ROUNDS {
        a.push(curl(&ours).await);
        b.push(curl(&theirs).await);
    }
    let grown = rss_mib(board.pid().as_raw()) - before;
    println!("\n## GET of an artifact of {MIB} MiB by curl, median of {ROUNDS} rounds, in turn");
    println!("leadersboard                           {:>8.0} MiB/s, memory grown by {grown:.1} MiB", median(&a));
    println!("nginx (sendfile)                       {:>8.0} MiB/s", median(&b));
    println!("ratio                                  {:>8.2}", median(&a) / median(&b));
}

/// The first file of this name.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let mut entries = fs::read_dir(folder).ok()?.filter_map(Result::ok).map(|entry| entry.path());
    entries.find_map(|path| if path.is_dir() { find(&path, name) } else { path.ends_with(name).then_some(path) })
}

/// The speed of a download, in MiB a second.
async fn curl(url: &str) -> f64 {
    let mut curl = Command::new("curl");
    curl.args([
        "-sf",
        "-o",
        "/dev/null",
        "-w",
        "%{speed_download}",
        "-H",
        &format!("Authorization: Bearer {ALICE}"),
        url,
    ]);
    let output =
        tokio::task::spawn_blocking(move || curl.output()).await.expect("a thread").expect("curl is installed");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).parse::<f64>().expect("a speed") / f64::from(1 << 20)
}

/// An nginx in the foreground, with a folder of its own.
struct Nginx {
    port: u16,
    _process: Process,
    _folder: TempDir,
}

impl Nginx {
    fn serving(root: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let (own, root) = (folder.path().display(), root.display());
        let user = if nix::unistd::geteuid().is_root() { "user root;" } else { "" };
        let config = format!(
            "{user} daemon off; worker_processes 1; pid {own}/pid; error_log {own}/errors; events {{}}\n\
             http {{ access_log off; sendfile on; client_body_temp_path {own}/a; proxy_temp_path {own}/b; \
             fastcgi_temp_path {own}/c; uwsgi_temp_path {own}/d; scgi_temp_path {own}/e; \
             server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
        );
        let path = folder.path().join("nginx.conf");
        fs::write(&path, config).expect("a configuration");
        let mut nginx = Command::new("nginx");
        nginx.arg("-c").arg(&path).stdout(Stdio::null()).stderr(Stdio::null());
        let process = Process::spawn(nginx);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        Self { port, _process: process, _folder: folder }
    }
}
