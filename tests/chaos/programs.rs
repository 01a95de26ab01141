//! What the jobs of a campaign run: for the most part sh under the name of Python, for speed, and real Python at least
//! once in twenty jobs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use leadersboard_tests::programs::INSTANT;

use crate::chance::Chance;
use crate::settings::variable;

/// The first line of a program that sh is to run.
const FOR_SH: &str = "#sh";

/// The programs, by their place in [`all`].
const PYTHON: usize = 0;
const FAILS: usize = 1;
const CHATTY: usize = 2;
const PATIENT: usize = 3;
const SHORT: usize = 4;

/// How long the programs that sleep do so, in seconds.
const SLEEPS: [&str; 5] = ["0", "0.1", "0.3", "0.6", "1"];

/// One job of a campaign.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    /// Its program, by its place in [`all`].
    pub(crate) program: usize,
    /// Whether the client asks for its end, and when after it was accepted.
    pub(crate) cancel: Option<Cancel>,
}

/// A wish for a job's end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cancel {
    pub(crate) after: Duration,
    pub(crate) force: bool,
}

/// What the job of this number is: one in ten fails, one in ten is cancelled, one in fifteen is real Python.
pub(crate) fn plan(seed: u64, number: usize) -> Plan {
    let mut chance = Chance::new(seed, 1_000 + number as u64);
    if number.is_multiple_of(15) {
        return Plan { program: PYTHON, cancel: None };
    }
    let cancel = Cancel { after: chance.millis(0, 2_500), force: chance.below(2) == 0 };
    match chance.below(100) {
        0..10 => Plan { program: FAILS, cancel: None },
        10..14 => Plan { program: CHATTY, cancel: None },
        14..22 => Plan { program: PATIENT, cancel: Some(cancel) },
        22..24 => Plan { program: SHORT, cancel: Some(cancel) },
        24..28 => Plan { program: PATIENT, cancel: None },
        more => Plan { program: SHORT + usize::try_from(more).expect("small") % SLEEPS.len(), cancel: None },
    }
}

/// Whether a program ends with results, if it comes to its end.
pub(crate) const fn succeeds(program: usize) -> bool {
    program != FAILS
}

/// Every program.
pub(crate) fn all() -> Vec<String> {
    let write = r#"printf '{"params": {"lr": 0.1}, "metrics": {"auc": 0.5}}' > "$4/metrics.json""#;
    let sleeper = |seconds: &str| format!("{FOR_SH}\necho begun\nsleep {seconds}\necho awake >&2\n{write}\n");
    let mut programs = vec![
        INSTANT.trim_start().to_owned(),
        format!("{FOR_SH}\necho begun\necho 'it went wrong' >&2\nexit 1\n"),
        format!("{FOR_SH}\ni=0\nwhile [ $i -lt 500 ]; do echo line $i; i=$((i + 1)); done\n{write}\n"),
        sleeper("2"),
    ];
    programs.extend(SLEEPS.map(sleeper));
    programs
}

/// Writes an interpreter that runs programs for sh by sh and all others by the real one, and gives its path.
///
/// # Panics
/// If the folder is not writable.
pub(crate) fn interpreter(folder: &Path) -> PathBuf {
    // By its path: the folder of an interpreter comes first on the PATH of a job.
    let real = variable("JOB_PYTHON").map(PathBuf::from).or_else(on_path).expect("JOB_PYTHON, or python3 on PATH");
    let real = real.display();
    let path = folder.join("python3");
    let script = format!(
        "#!/bin/sh\ncase \"$1\" in\n-*) ;;\n*)\n  read -r first < \"$1\"\n  if [ \"$first\" = '{FOR_SH}' ]; then exec \
         /bin/sh \"$@\"; fi ;;\nesac\nexec '{real}' \"$@\"\n"
    );
    fs::write(&path, script).expect("the folder is writable");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
    path
}

fn on_path() -> Option<PathBuf> {
    let path = variable("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("python3")).find(|file| file.is_file())
}
