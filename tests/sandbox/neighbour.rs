//! Another's run, beside which an attack is made.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use leadersboard_tests::board::{BOB, Process};
use leadersboard_tests::client::Client;
use leadersboard_tests::wait::until;
use serde_json::json;

use super::{Level, PATIENCE, PYTHON, Site, run_folder};

/// What only the neighbour knows.
pub(crate) const SECRET: &str = "the-secret-of-another-job";

/// Another's run: Bob's job. At the floor no job runs beside another, so there it is folders and a process like those
/// of one.
pub(crate) struct Neighbour {
    /// The folder of the run.
    pub(crate) folder: PathBuf,
    /// One of its processes.
    pub(crate) process: String,
    /// The submission of its program.
    pub(crate) submission: String,
    bob: Client,
    job: Option<String>,
    stand_in: Option<Process>,
}

impl Neighbour {
    /// One that has its secret in its output and stays.
    pub(crate) async fn of(level: Level, site: &Site) -> Self {
        let program = format!(
            "import sys, time\noutput = sys.argv[sys.argv.index('--output') + 1]\n\
             open(output + '/secret.txt', 'w').write('{SECRET}')\ntime.sleep(300)\n"
        );
        let bob = Client::new(site.board.server(), BOB);
        let work = site.board.data().join("work");
        let submission = bob.submit(&program).await;
        if level == Level::Floor {
            // One that has ended has left what is stored of it.
            let ended = site.submit("print('said')\ncomplete()\n", &json!({})).await;
            site.completed(&ended).await;
            let folder = work.join("neighbour/run");
            let stand_in = stand_in(&folder, site.board.user().expect("a user"));
            let process = stand_in.pid().to_string();
            return Self { folder, process, submission, bob, job: None, stand_in: Some(stand_in) };
        }
        let job = bob.enqueue(&submission, json!({})).await;
        let folder = until("the neighbour runs", PATIENCE, async || {
            let folder = run_folder(&work, &job)?;
            folder.join("output/secret.txt").exists().then_some(folder)
        })
        .await;
        let process = process_of(&job);
        Self { folder, process, submission, bob, job: Some(job), stand_in: None }
    }

    /// Ends it, and leaves nothing of it.
    pub(crate) async fn end(self) {
        if let Some(job) = &self.job {
            let answer = self.bob.post(&format!("/jobs/{job}/cancel"), &json!({})).await;
            assert_eq!(answer.status, 202, "{answer:?}");
            self.bob.wait_for(job, "cancelled").await;
        }
        if self.stand_in.is_some() {
            fs::remove_dir_all(self.folder.parent().expect("a folder of its own")).expect("it is the test's");
        }
    }
}

fn stand_in(folder: &Path, user: u32) -> Process {
    let make = |path: &Path, mode| {
        fs::DirBuilder::new().mode(mode).create(path).expect("the folder is the test's");
        chown(path, Some(user), Some(user)).expect("its owner may");
    };
    for above in [folder.parent().expect("a folder of its own"), folder] {
        make(above, 0o711);
    }
    for part in ["work", "output", "home", "tmp"] {
        make(&folder.join(part), 0o700);
    }
    for file in ["output/secret.txt", "work/main.py"] {
        fs::write(folder.join(file), SECRET).expect("the folder is the test's");
        chown(folder.join(file), Some(user), Some(user)).expect("its owner may");
    }
    let mut command = Command::new(PYTHON);
    command.args(["-c", "import time; time.sleep(300)"]).env("SECRET", SECRET).current_dir(folder.join("work"));
    command.uid(user).gid(user);
    Process::spawn(command)
}

/// A process of a job, by the machine's numbering.
fn process_of(job: &str) -> String {
    let marked = format!("LEADERSBOARD_JOB_ID={job}");
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let found = processes.into_iter().find(|entry| {
        let environ = fs::read(entry.path().join("environ")).unwrap_or_default();
        String::from_utf8_lossy(&environ).contains(&marked)
    });
    found.expect("it runs").file_name().to_string_lossy().into_owned()
}
