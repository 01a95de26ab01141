//! Uploads of 100 MiB by curl, beside the least that could take them: a bare axum handler that writes the body to the same
//! disk and syncs it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use futures::StreamExt;
use futures::future::join_all;
use leadersboard_tests::board::{ALICE, Board};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use crate::footprint::rss_mib;
use crate::statistics::median;

const ROUNDS: usize = 5;
const MIB: usize = 100;
const CROWD: usize = 20;

pub(crate) async fn print() {
    let board = Board::start(&[]).await;
    let sources = tempfile::tempdir().expect("a directory");
    let line = [b'#'; 127];
    let program = [&line[..], b"\n"].concat().repeat((MIB << 20) / 128);
    std::fs::write(sources.path().join("main.py"), program).expect("a program");
    std::fs::write(sources.path().join("config.yaml"), "seed: 1\n").expect("a config");
    let sink = board.data().join("sink");
    std::fs::create_dir_all(&sink).expect("a folder on the board's disk");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let bare = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().route("/submissions", post(write)).layer(DefaultBodyLimit::disable()).with_state(sink);
    tokio::spawn(async move { axum::serve(listener, router).await });

    upload(board.server(), sources.path()).await;
    let before = rss_mib(board.pid().as_raw());
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let one = Peak::of(&board);
    for _ in 0..ROUNDS {
        ours.push(upload(board.server(), sources.path()).await);
        theirs.push(upload(&bare, sources.path()).await);
    }
    let one = one.mib();
    let many = Peak::of(&board);
    let began = Instant::now();
    join_all((0..CROWD).map(|_| upload(board.server(), sources.path()))).await;
    let rate = (CROWD * MIB) as f64 / began.elapsed().as_secs_f64();
    let many = many.mib();
    let began = Instant::now();
    join_all((0..CROWD).map(|_| upload(&bare, sources.path()))).await;
    let bare_rate = (CROWD * MIB) as f64 / began.elapsed().as_secs_f64();

    let (ours, theirs) = (median(&ours), median(&theirs));
    println!("\n## POST /submissions of {MIB} MiB by curl, median of {ROUNDS} rounds, in turn");
    println!("leadersboard (form, SHA-256, sync, commit)   {ours:>8.0} MiB/s");
    println!("bare axum handler (body to disk, sync)       {theirs:>8.0} MiB/s");
    println!("ratio                                        {:>8.2}", ours / theirs);
    println!("growth of resident memory                    {:>8.1} MiB at most, from {before:.1}", one - before);
    println!("{CROWD} at once                                   {rate:>8.0} MiB/s in all, bare {bare_rate:.0}");
    println!("growth of resident memory                    {:>8.1} MiB at most", many - before);
}

async fn write(State(folder): State<PathBuf>, body: Body) -> StatusCode {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let path = folder.join(NUMBER.fetch_add(1, Ordering::Relaxed).to_string());
    let written = async {
        let mut file = File::create(&path).await?;
        let mut chunks = body.into_data_stream();
        while let Some(chunk) = chunks.next().await {
            file.write_all(&chunk.map_err(std::io::Error::other)?).await?;
        }
        file.flush().await?;
        file.sync_all().await
    };
    let status = if written.await.is_ok() { StatusCode::CREATED } else { StatusCode::INTERNAL_SERVER_ERROR };
    // What counts is that it was there.
    let _ = tokio::fs::remove_file(&path).await;
    status
}

/// MiB a second of one upload by curl.
async fn upload(server: &str, folder: &Path) -> f64 {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-o", "/dev/null", "-w", "%{http_code} %{time_total}", "-H", "Expect:"]);
    curl.args(["-H", &format!("Authorization: Bearer {ALICE}")]);
    for name in ["main.py", "config.yaml"] {
        curl.arg("-F").arg(format!("files=@{}", folder.join(name).display()));
    }
    curl.arg(format!("{server}/submissions"));
    let output =
        tokio::task::spawn_blocking(move || curl.output()).await.expect("a thread").expect("curl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (status, seconds) = text.split_once(' ').expect("a status and a time");
    assert_eq!(status, "201", "{output:?}");
    MIB as f64 / seconds.parse::<f64>().expect("seconds")
}

/// The most memory that a board's process takes meanwhile.
struct Peak {
    bytes: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Peak {
    fn of(board: &Board) -> Self {
        let peak = Self { bytes: Arc::default(), stop: Arc::default() };
        let (bytes, stop, pid) = (Arc::clone(&peak.bytes), Arc::clone(&peak.stop), board.pid().as_raw());
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of bytes")]
                bytes.fetch_max((rss_mib(pid) * f64::from(1 << 20)) as u64, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        peak
    }

    fn mib(self) -> f64 {
        self.stop.store(true, Ordering::Relaxed);
        self.bytes.load(Ordering::Relaxed) as f64 / f64::from(1 << 20)
    }
}
