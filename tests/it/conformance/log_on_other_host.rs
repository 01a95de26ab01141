//! A log in a bucket as another host reads it: what was sent, and then what is shown live.

use std::time::Duration;

use adapters::object::ObjectLogs;
use adapters::redis::Redis;
use events::ports::{LiveLogPort, LogPort, Shown};
use events::{Fence, JobId};
use leadersboard_tests::s3::S3Server;
use leadersboard_tests::wait::until;
use tempfile::TempDir;

use super::Bench;

const SOON: Duration = Duration::from_secs(20);

/// Two hosts with folders of their own, and what they share.
struct Hosts {
    bench: Bench,
    server: S3Server,
    worker: ObjectLogs,
    api: ObjectLogs,
    _folders: [TempDir; 2],
}

impl Hosts {
    async fn new() -> Self {
        let (bench, server) = (Bench::new().await, S3Server::start().await);
        let folders = [(); 2].map(|()| tempfile::tempdir().expect("a directory"));
        let redis = Redis::connect(&bench.server.url(), bench.keys.clone()).await.expect("Redis");
        let [worker, api] = [(&folders[0], bench.redis.clone()), (&folders[1], redis)]
            .map(|(folder, redis)| ObjectLogs::new(server.store(""), folder.path().to_owned(), Some(redis)));
        Self { bench, server, worker, api, _folders: folders }
    }

    async fn show(&self, job: JobId, fence: &Fence, offset: u64, bytes: &[u8]) {
        let live: &dyn LiveLogPort = &self.bench.redis;
        assert_eq!(live.append(job, fence, offset, bytes).await, Ok(Shown::Yes));
    }

    /// All that the API's host can read of a log, in pieces.
    async fn read(&self, job: JobId, fence: &Fence) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let piece = self.api.read(job, fence, all.len() as u64, 1 << 20).await.expect("read");
            if piece.is_empty() {
                return all;
            }
            all.extend_from_slice(&piece);
        }
    }
}

#[tokio::test]
async fn what_is_not_sent_yet_is_read_from_the_live_log_and_all_of_it_once_it_is_closed() {
    let hosts = Hosts::new().await;
    let Hosts { worker, api, server, .. } = &hosts;
    let (job, fence) = hosts.bench.running(1).await.remove(0);
    let mut writer = worker.create(job, &fence).await.expect("a log");
    writer.append(b"one\n").await.expect("written");
    hosts.show(job, &fence, 0, b"one\n").await;
    assert_eq!(hosts.read(job, &fence).await, b"one\n", "it is shown, and not sent yet");
    assert_eq!(api.len(job, &fence).await, Ok(Some(4)));

    // Faster than it is shown: full segments are sent as they come.
    let line: Vec<u8> = (0..1_000_000_u32).flat_map(|number| format!("{number}\n").into_bytes()).collect();
    for piece in line.chunks(100_000).take(65) {
        writer.append(piece).await.expect("written");
    }
    let printed = [b"one\n", &line[..6_500_000]].concat();
    let sent = until("a segment is sent", SOON, async || {
        let sent = hosts.read(job, &fence).await;
        (sent.len() > 4).then_some(sent)
    });
    let sent = sent.await;
    assert_eq!(sent.len(), 4 << 20, "a whole segment, and no more");
    assert!(sent == printed[..sent.len()]);
    hosts.show(job, &fence, 6_500_000, b"....").await;
    assert_eq!(api.len(job, &fence).await, Ok(Some(4 << 20)), "what is behind a gap is not read");
    hosts.show(job, &fence, (4 << 20) - 2, &printed[(4 << 20) - 2..][..10_000]).await;

    writer.close().await.expect("sent");
    drop(writer);
    assert!(hosts.read(job, &fence).await == printed);
    let middle = api.read(job, &fence, (4 << 20) - 3, 6).await.expect("read");
    assert_eq!(middle, printed[(4 << 20) - 3..][..6], "across two segments");
    let names = [0, 4 << 20].map(|offset| format!("logs/{job}/{fence}/{offset:020}"));
    let begun = format!("logs/{job}/{fence}/begun");
    assert_eq!(server.keys("logs/").await, [&names[..], &[begun]].concat());
}

#[tokio::test]
async fn the_log_of_a_lost_worker_ends_with_what_was_shown_and_a_note_and_takes_nothing_more() {
    let hosts = Hosts::new().await;
    let Hosts { worker, api, server, .. } = &hosts;
    let (job, fence) = hosts.bench.running(1).await.remove(0);
    api.cut_off(job, &fence).await.expect("there is no log");
    assert_eq!(api.len(job, &fence).await, Ok(None));
    let mut writer = worker.create(job, &fence).await.expect("a log");
    writer.append(b"sent\n").await.expect("written");
    writer.close().await.expect("sent");
    writer.append(b"shown\n").await.expect("written");
    hosts.show(job, &fence, 5, b"shown\n").await;
    writer.append(b"neither\n").await.expect("written");

    api.cut_off(job, &fence).await.expect("cut off");
    let log = String::from_utf8(hosts.read(job, &fence).await).expect("a text");
    assert!(log.starts_with("sent\nshown\n\n[leadersboard] the worker was lost: "), "{log}");
    let keys = server.keys("logs/").await;
    api.cut_off(job, &fence).await.expect("twice is no error");
    // The worker had only been slow.
    writer.append(b"late\n").await.expect("written");
    hosts.show(job, &fence, 5, b"shown\nneither\nlate\n").await;
    writer.close().await.expect("there is nothing to send");
    assert_eq!(hosts.read(job, &fence).await, log.as_bytes());
    assert_eq!(server.keys("logs/").await, keys);
}
