//! An API that is killed while uploads are under way.

use std::path::Path;
use std::time::Duration;

use leadersboard_tests::age::age;
use leadersboard_tests::board::ALICE;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::{until, until_equal};
use nix::sys::signal::Signal;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{INSTANT, RECOVERY, all_ended, assert_undisturbed};

/// Longer than any upload takes, and than storage takes one to be under way.
const DAY_AND_HOUR: Duration = Duration::from_hours(25);

/// Sends the beginning of an upload, and leaves it at that.
async fn half_an_upload(server: &str) -> TcpStream {
    let address = server.trim_start_matches("http://");
    let mut connection = TcpStream::connect(address).await.expect("a connection");
    let head = format!(
        "POST /submissions HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {ALICE}\r\nContent-Length: 1000000\r\n\
         Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\nContent-Disposition: form-data; name=\"files\"; \
         filename=\"main.py\"\r\n\r\n{}",
        "#".repeat(200_000)
    );
    connection.write_all(head.as_bytes()).await.expect("half an upload");
    connection
}

fn count(folder: &Path) -> usize {
    std::fs::read_dir(folder).expect("a folder").count()
}

#[tokio::test]
async fn uploads_cut_by_the_death_of_the_api_are_swept_and_can_be_sent_again() {
    let roles = Roles::new().await;
    let staging = roles.data.path().join("uploads/.staging");
    let (mut first, alice) = roles.api();
    let halves = [half_an_upload(alice.server()).await, half_an_upload(alice.server()).await];
    until_equal("two uploads are under way", RECOVERY, 2, async || count(&staging)).await;
    first.signal(Signal::SIGKILL);
    first.wait();
    drop(halves);

    let (mut second, alice) = roles.api();
    let _worker = roles.worker("w", "1s");
    let job = alice.run(INSTANT).await;
    alice.wait_for(&job, "completed").await;
    assert_eq!(count(&staging), 2, "they might be under way on another host");
    second.signal(Signal::SIGTERM);
    second.wait();

    for folder in std::fs::read_dir(&staging).expect("staging").flatten() {
        age(&folder.path(), DAY_AND_HOUR);
    }
    let (_third, alice) = roles.api();
    let half = half_an_upload(alice.server()).await;
    until("only what is under way is left", RECOVERY, async || (count(&staging) == 1).then_some(())).await;
    drop(half);
    let folded = all_ended(&roles).await;
    assert_undisturbed(&roles, &folded, &[job.parse().expect("an id")]);
    assert_eq!(folded.submissions.len(), 1);
}
