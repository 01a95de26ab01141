//! Reading `metrics.json` out of a directory that a job could write.
//!
//! Only after its processes are gone, beneath the directory, following no link, without blocking, and bounded.

use std::io::{self, Read};
use std::path::Path;

use events::Results;
use events::results::MAX_METRICS_FILE_BYTES;
use rustix::io::Errno;

use crate::machine::open_output::{Refusal, open_directory, open_file};
use crate::machine::platform_fault::is_platforms;

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
/// If reading fails, which is the platform's fault.
pub(crate) fn read(output: &Path) -> io::Result<Found> {
    let folder = match open_directory(output) {
        Ok(folder) => folder,
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        Err(error) if is_platforms(error) => return Err(error.into()),
        // What the job did to it.
        Err(error) => return Ok(Found::Invalid(format!("the --output directory can't be opened any more: {error}"))),
    };
    let file = match open_file(&folder, NAME) {
        Ok((file, _)) => file,
        Err(Refusal::Missing) => return Ok(Found::Nothing),
        Err(Refusal::Unreadable(error)) if is_platforms(error) => return Err(error.into()),
        Err(refusal) => return Ok(Found::Invalid(format!("{NAME} {refusal}"))),
    };
    let mut content = Vec::new();
    file.take(MAX_METRICS_FILE_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > MAX_METRICS_FILE_BYTES {
        let limit = MAX_METRICS_FILE_BYTES >> 10;
        return Ok(Found::Invalid(format!("{NAME} is larger than {limit} KiB")));
    }
    Ok(match Results::from_metrics_json(&content) {
        Ok(results) => Found::Results(results),
        Err(error) => Found::Invalid(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

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

    #[test]
    fn what_a_job_did_to_its_output_directory_is_its_own_affair() {
        let parent = tempfile::tempdir().unwrap();
        let output = parent.path().join("output");
        assert_eq!(read(&output).unwrap(), Found::Nothing, "it removed it");
        symlink("/etc", &output).unwrap();
        assert!(matches!(read(&output).unwrap(), Found::Invalid(_)), "it put a link in its place");
        fs::remove_file(&output).unwrap();
        fs::create_dir(&output).unwrap();
        fs::write(output.join(NAME), r#"{"params": {}, "metrics": {}}"#).unwrap();
        fs::set_permissions(&output, fs::Permissions::from_mode(0o000)).unwrap();
        assert!(matches!(read(&output).unwrap(), Found::Results(_)), "it closed it");
    }
}
