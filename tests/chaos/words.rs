//! What workers said, in lines of JSON.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

/// How the last words of a role that ends with an error begin.
const GAVE_UP: &[u8] = b"error: ";

/// A run whose end its worker tried to record, or was about to, when it was told that the run is not the job's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) job: String,
    /// Which start of the job that was.
    pub(crate) attempt: usize,
}

/// What all workers said.
#[derive(Debug, Default)]
pub(crate) struct Words {
    pub(crate) refused: Vec<Refused>,
    /// What the reconcilers put right, by kind.
    pub(crate) repairs: BTreeMap<String, u64>,
    /// Lines of level ERROR.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Last words of roles that gave up, which are for people.
    pub(crate) gave_up: BTreeMap<String, u64>,
    /// Lines that are no JSON, such as a panic's.
    pub(crate) unreadable: Vec<String>,
}

/// Reads every file of a folder.
///
/// # Panics
/// If one can't be read.
pub(crate) fn read(folder: &Path) -> Words {
    let mut words = Words::default();
    for file in std::fs::read_dir(folder).expect("the folder").flatten() {
        let lines = BufReader::new(File::open(file.path()).expect("a file")).split(b'\n');
        for line in lines.map(|line| line.expect("a line")) {
            match serde_json::from_slice(&line) {
                Ok(line) => words.hear(&line),
                Err(_) if line.starts_with(GAVE_UP) => {
                    *words.gave_up.entry(String::from_utf8_lossy(&line).into_owned()).or_default() += 1;
                }
                Err(_) => words.unreadable.push(String::from_utf8_lossy(&line).into_owned()),
            }
        }
    }
    words
}

impl Words {
    fn hear(&mut self, line: &Value) {
        let message = line["fields"]["message"].as_str().unwrap_or_default();
        if line["level"] == "ERROR" {
            *self.errors.entry(message.to_owned()).or_default() += 1;
        }
        match message {
            "repaired a job" => {
                let kind = line["fields"]["repair"].as_str().unwrap_or_default();
                *self.repairs.entry(kind.to_owned()).or_default() += 1;
            }
            "this run's end is not the job's and is not recorded"
            | "the job has another run now; this one is not recorded" => {
                self.refused.extend(refused(&line["span"]));
            }
            _ => {}
        }
    }
}

fn refused(span: &Value) -> Option<Refused> {
    let job = span["job"].as_str()?.to_owned();
    Some(Refused { job, attempt: usize::try_from(span["attempt"].as_u64()?).ok()? })
}
