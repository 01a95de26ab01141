//! The `requirements.txt` of a submission: read, installed, and cached for submissions with the same list.
//!
//! `lines` is what may stand in it, `environments` the cache, `installer` the program that fills it, and `install` how
//! it is run.

mod demand;
mod environments;
mod install;
mod installer;
mod lines;

use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

pub(crate) use demand::{Demand, Packages};
pub(crate) use environments::Environment;
pub(crate) use environments::Environments;
use environments::{KEPT, Place, Vacancy};
pub use installer::{Installer, InstallerError, InstallerOptions, RequirementsMode};
use lines::Lines;

use crate::confinement::run_directory::RunDirectory;
use crate::job::outcome::Outcome;
use crate::machine::open_output::{Refusal, open_directory, open_file};
use crate::machine::platform_fault::is_platforms;

const NAME: &str = "requirements.txt";
/// How long somebody else's installation of the same is waited for.
const WAIT_LIMIT: Duration = Duration::from_mins(40);
/// How often is looked whether it is there.
const LOOK: Duration = Duration::from_millis(200);
/// How long it may take to move an environment into place and to remove others.
const MOVE_LIMIT: Duration = Duration::from_mins(10);

impl Packages {
    /// Returns the environment that the submission in `directory` asks for, `None` if it asks for none.
    ///
    /// # Errors
    /// The outcome of the run if it can't have the environment.
    pub(crate) async fn environment(
        &self,
        directory: &RunDirectory,
        demand: &Demand<'_>,
    ) -> Result<Option<Environment>, Outcome> {
        let Some(lines) = read(&directory.work())? else { return Ok(None) };
        let digest = digest(&[
            &self.python.path.to_string_lossy(),
            &self.python.version,
            std::env::consts::ARCH,
            self.installer.index(),
            &lines.file(),
        ]);
        let environments = Environments::of(&self.work_root).map_err(unusable)?;
        let patience = Instant::now() + WAIT_LIMIT;
        demand.watchdog.enter("waiting for an environment", WAIT_LIMIT);
        loop {
            match environments.look(&digest).map_err(unusable)? {
                Place::Ready(environment) => {
                    demand.log.note(&format!("{NAME} is installed: environment {digest:.12}")).await;
                    return Ok(Some(environment));
                }
                Place::Vacant(vacancy) => {
                    self.build(demand, vacancy, &lines).await?;
                    self.prune(&environments).await;
                    demand.watchdog.enter("waiting for an environment", WAIT_LIMIT);
                }
                Place::Busy if Instant::now() > patience => {
                    let why = format!("another worker has been installing the same {NAME} for too long");
                    return Err(Outcome::broken(why));
                }
                Place::Busy => {
                    demand.watchdog.wait_for(Some(format!("another run installs the same {NAME}")));
                    tokio::select! {
                        reason = demand.interrupt.raised() => return Err(Outcome::stopped(reason)),
                        () = sleep(LOOK) => {}
                    }
                }
            }
        }
    }

    /// Builds an environment and puts it in its place.
    async fn build(&self, demand: &Demand<'_>, vacancy: Vacancy, lines: &Lines) -> Result<(), Outcome> {
        demand.watchdog.wait_for(None);
        let each = install::LIMIT + self.graces.interrupt + self.graces.terminate;
        demand.watchdog.enter("installing", each * install::PROGRAMS + MOVE_LIMIT);
        demand.log.note(&format!("installing {NAME}")).await;
        let directory = RunDirectory::create(&self.directory, &format!("{}-env", demand.name)).map_err(unusable)?;
        let built = install::install(self, demand, &directory, lines).await;
        let done = spawn_blocking(move || {
            let filled = match built {
                Ok(environment) => vacancy.fill(&environment).map_err(unusable),
                Err(outcome) => {
                    vacancy.give_up();
                    Err(outcome)
                }
            };
            if let Err(error) = directory.remove() {
                tracing::warn!(%error, "the directory of an installation could not be removed");
            }
            filled
        });
        done.await.map_err(|error| unusable(io::Error::other(error)))?
    }

    async fn prune(&self, environments: &Environments) {
        let (environments, directory) = (environments.clone(), self.directory.clone());
        let pruned = spawn_blocking(move || environments.prune(&directory, KEPT)).await;
        if let Err(error) = pruned.map_err(io::Error::other).and_then(|pruned| pruned) {
            tracing::warn!(%error, "environments that are not used any more could not be removed");
        }
    }
}

/// What the file asks for, if there is one that asks for anything.
fn read(work: &Path) -> Result<Option<Lines>, Outcome> {
    let folder = open_directory(work).map_err(|error| unusable(error.into()))?;
    let file = match open_file(&folder, NAME) {
        Ok((file, _)) => file,
        Err(Refusal::Missing) => return Ok(None),
        Err(Refusal::Unreadable(error)) if is_platforms(error) => return Err(unusable(error.into())),
        Err(refusal) => return Err(Outcome::setup_failure(format!("{NAME} {refusal}"))),
    };
    let mut content = Vec::new();
    file.take(lines::MAX_BYTES + 1).read_to_end(&mut content).map_err(unusable)?;
    if content.len() as u64 > lines::MAX_BYTES {
        return Err(Outcome::setup_failure(format!("{NAME} is larger than {} KiB", lines::MAX_BYTES >> 10)));
    }
    let lines = Lines::parse(&content).map_err(|why| Outcome::setup_failure(format!("{NAME} can't be used: {why}")))?;
    Ok((!lines.is_empty()).then_some(lines))
}

/// The name of what these parts make: no two lists of parts have the same.
fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hex::encode(hash.finalize())
}

fn unusable(error: io::Error) -> Outcome {
    Outcome::broken(format!("the environments for {NAME} can't be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_small_regular_file_of_the_submission_is_read() {
        let work = tempfile::tempdir().unwrap();
        let file = work.path().join(NAME);
        let refused = |word: &str| match read(work.path()) {
            Err(Outcome::Failed(failure)) => assert!(failure.error.contains(word), "{}", failure.error),
            other => panic!("{word}: {other:?}"),
        };
        assert!(matches!(read(work.path()), Ok(None)));
        std::os::unix::fs::symlink("/etc/hosts", &file).unwrap();
        refused("symbolic link");
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, vec![b'#'; (64 << 10) + 1]).unwrap();
        refused("larger than 64 KiB");
        std::fs::write(&file, "# nothing\n").unwrap();
        assert!(matches!(read(work.path()), Ok(None)));
        std::fs::write(&file, "numpy\n").unwrap();
        assert!(matches!(read(work.path()), Ok(Some(_))));
    }

    #[test]
    fn what_is_split_otherwise_is_another_environment() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
        assert_eq!(digest(&["a"]).len(), 64);
    }
}
