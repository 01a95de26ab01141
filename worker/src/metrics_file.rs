//! Reading `metrics.json` out of a directory that a job could write.
//!
//! Only after its processes are gone, beneath the directory, following no link, without blocking, and bounded.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use events::Results;
use events::results::MAX_METRICS_FILE_BYTES;
use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fstat, open, openat2};
use rustix::io::Errno;

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
/// If the disk fails, which is the platform's fault.
pub(crate) fn read(output: &Path) -> io::Result<Found> {
    let folder = match open(output, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(folder) => folder,
        // Nobody else writes there: the job has closed it, removed it, or put something else in its place.
        Err(error @ (Errno::ACCESS | Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => {
            return Ok(Found::Invalid(format!("the --output directory can't be read any more: {error}")));
        }
        Err(error) => return Err(error.into()),
    };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve =
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
    let file = match openat2(&folder, NAME, flags, Mode::empty(), resolve) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(Found::Nothing),
        Err(Errno::LOOP) => return Ok(Found::Invalid(format!("{NAME} is a symbolic link"))),
        Err(error) => return Ok(Found::Invalid(format!("{NAME} can't be opened: {error}"))),
    };
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Ok(Found::Invalid(format!("{NAME} is not a regular file")));
    }
    if stat.st_nlink != 1 {
        return Ok(Found::Invalid(format!("{NAME} has another name elsewhere (a hard link)")));
    }
    let mut content = Vec::new();
    File::from(file).take(MAX_METRICS_FILE_BYTES + 1).read_to_end(&mut content)?;
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
