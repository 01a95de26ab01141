//! The `metrics.json` that a job left, read once its processes are gone.

use std::io;
use std::path::Path;

use events::Results;
use events::results::MAX_METRICS_FILE_BYTES;

use crate::planted::{self, Planted};

/// What was found.
#[derive(Debug, PartialEq)]
pub(crate) enum Found {
    /// The results.
    Results(Results),
    /// There is no such file.
    Nothing,
    /// There is one that breaks a rule; the sentence names it.
    Invalid(String),
}

const NAME: &str = "metrics.json";

/// Reads the `metrics.json` in `output`.
///
/// # Errors
/// If the directory itself can't be read, which is the platform's fault.
pub(crate) fn read(output: &Path) -> io::Result<Found> {
    Ok(match planted::read(output, NAME, MAX_METRICS_FILE_BYTES)? {
        Planted::Nothing => Found::Nothing,
        Planted::Refused(sentence) => Found::Invalid(sentence),
        Planted::Content(content) => match Results::from_metrics_json(&content) {
            Ok(results) => Found::Results(results),
            Err(error) => Found::Invalid(error.to_string()),
        },
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode as NixMode;
    use nix::unistd::mkfifo;

    use super::*;

    fn found(plant: impl FnOnce(&Path)) -> Found {
        let output = tempfile::tempdir().unwrap();
        plant(&output.path().join(NAME));
        read(output.path()).unwrap()
    }

    #[test]
    fn what_a_job_may_plant_is_refused_by_name() {
        let valid = r#"{"params": {}, "metrics": {"auc": 0.5}}"#;
        let refused = |plant: &dyn Fn(&Path), word: &str| match found(plant) {
            Found::Invalid(sentence) => assert!(sentence.contains(word), "{sentence}"),
            other => panic!("{word}: {other:?}"),
        };
        refused(&|path| symlink("/etc/passwd", path).unwrap(), "symbolic link");
        refused(&|path| mkfifo(path, NixMode::S_IRWXU).unwrap(), "not a regular file");
        refused(&|path| fs::create_dir(path).unwrap(), "not a regular file");
        refused(&|path| fs::write(path, vec![b' '; 300 << 10]).unwrap(), "larger than");
        let linked = |path: &Path| {
            fs::write(path, valid).unwrap();
            fs::hard_link(path, path.with_extension("twin")).unwrap();
        };
        refused(&linked, "hard link");
        assert_eq!(found(|_| {}), Found::Nothing);
        assert!(matches!(found(|path| fs::write(path, valid).unwrap()), Found::Results(_)));
    }
}
