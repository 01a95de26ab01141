//! Data directories in unusual places, made under an unusual umask.

use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::Client;
use nix::sys::stat::{Mode, umask};

const PROGRAM: &str = "\
import json, os, sys, tempfile
tempfile.TemporaryFile(dir='/tmp').write(b'x')
assert 'main.py' in os.listdir('.') and os.path.isfile(os.path.abspath('main.py'))
with open(os.path.join(sys.argv[sys.argv.index('--output') + 1], 'metrics.json'), 'w') as file:
    json.dump({'params': {}, 'metrics': {'auc': 0.5}}, file)
";

/// Each test has a process of its own, so that nobody else gets this umask.
async fn runs_a_job_below(folder: &str, prefix: &str, mask: u32) {
    umask(Mode::from_bits_truncate(mask));
    let data = tempfile::Builder::new().prefix(prefix).tempdir_in(folder).expect("a directory");
    let board = Board::start_in(data, None, &[("SANDBOX", "standard"), ("JOB_PYTHON", "/usr/bin/python3")]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run(PROGRAM).await;
    alice.wait_for(&job, "completed").await;
}

#[tokio::test]
async fn a_data_directory_below_var_tmp_works_under_a_closed_umask() {
    runs_a_job_below("/var/tmp", "lb up \u{fc}n\u{ef} e\u{301} \\\"", 0o077).await;
}

#[tokio::test]
async fn a_data_directory_in_shared_memory_works_under_an_umask_that_closes_everything() {
    runs_a_job_below("/dev/shm", "lb-up-", 0o777).await;
}
