//! Runs scripts of the worker's own, confined as a job is: to know that it works, and to know what it denies.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use events::ResourceClass;
use tokio::io::AsyncReadExt;
use tokio::process::{ChildStderr, ChildStdout};
use tokio_util::sync::CancellationToken;

use super::sight::Unseen;
use super::{Needs, Sandbox};
use crate::confinement::program;
use crate::confinement::run_directory::RunDirectory;
use crate::confinement::runner::{Confined, Terms};
use crate::confinement::supervise::process::{Ended, Graces};
use crate::job::interrupt::Interrupt;
use crate::python::Python;

/// How long a script may run.
const LIMIT: Duration = Duration::from_mins(1);
/// How much of what it prints is kept, in bytes.
const KEPT_BYTES: u64 = 1 << 20;
/// What an argument may have, which is 128 KiB for the kernel.
const MOST_ARGUMENT_BYTES: usize = 100 << 10;

/// A script, and what it has beside what every job has.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Probe<'a> {
    pub(crate) script: &'a str,
    pub(crate) argument: &'a str,
    pub(crate) needs: Needs<'a>,
    pub(crate) environment: &'a [(String, String)],
}

impl Sandbox {
    /// Runs the interpreter confined.
    pub(crate) async fn try_out(&self, python: &Python, work_root: &Path) -> Result<(), String> {
        const SCRIPT: &str = "import os, sys, tempfile; tempfile.TemporaryFile(); os.listdir('.')";
        self.run_probe(python, work_root, &Probe { script: SCRIPT, ..Probe::default() }).await.map(drop)
    }

    /// Looks at these paths as a job does, and gives those that it can't read.
    pub(crate) async fn look(&self, python: &Python, work_root: &Path, paths: &[&Path]) -> Result<Vec<Unseen>, String> {
        const SCRIPT: &str = "import json, os, sys
for path in json.loads(sys.argv[1]):
    try: next(os.scandir(path), None) if os.path.isdir(path) else open(path, 'rb').close()
    except OSError as error: print(json.dumps([path, error.strerror]))";
        let mut bytes = 0;
        let paths: Vec<&str> = paths.iter().filter_map(|path| path.to_str()).collect();
        let paths: Vec<&str> = paths
            .into_iter()
            .take_while(|path| {
                bytes += path.len() + 3;
                bytes < MOST_ARGUMENT_BYTES
            })
            .collect();
        if paths.is_empty() {
            return Ok(vec![]);
        }
        let argument = serde_json::to_string(&paths).map_err(|error| error.to_string())?;
        let probe = Probe { script: SCRIPT, argument: &argument, ..Probe::default() };
        let printed = self.run_probe(python, work_root, &probe).await?;
        let lines = printed.lines().map(serde_json::from_str::<(PathBuf, String)>);
        let unseen = |(path, error)| {
            let why = format!("jobs get {error:?}: open it and the folders above it (chmod o+rx), or move it");
            Unseen { path, why }
        };
        // An interpreter may print something of its own at its start.
        Ok(lines.flatten().map(unseen).collect())
    }

    /// Runs a script confined, and gives what it printed.
    ///
    /// # Errors
    /// Why it did not run, or what it said at its bad end.
    pub(crate) async fn run_probe(
        &self,
        python: &Python,
        work_root: &Path,
        probe: &Probe<'_>,
    ) -> Result<String, String> {
        let (name, directory) = own_directory(work_root).map_err(|error| error.to_string())?;
        let ran = self.run_in(python, &directory, &name, probe).await;
        if let Err(error) = directory.remove() {
            tracing::warn!(%error, "the directory of a probe could not be removed");
        }
        ran
    }

    async fn run_in(
        &self,
        python: &Python,
        directory: &RunDirectory,
        name: &str,
        probe: &Probe<'_>,
    ) -> Result<String, String> {
        let told = |error: io::Error| error.to_string();
        let class = ResourceClass::of(LIMIT.as_secs());
        let confinement = self.confine(name, directory, probe.needs, &class).await.map_err(told)?;
        let mut environment = program::environment(python, directory, &confinement.isolation);
        environment.extend_from_slice(probe.environment);
        let spec = confinement.spec(
            &python.path,
            vec!["-c".to_owned(), probe.script.to_owned(), probe.argument.to_owned()],
            directory.work(),
            environment,
            name,
        );
        let started = Confined::start(self, confinement, directory, &spec, name).await.map_err(told)?;
        let graces = Graces { interrupt: Duration::ZERO, terminate: Duration::ZERO };
        let (interrupt, at_once) = (Interrupt::default(), CancellationToken::new());
        let terms = Terms { limit: LIMIT, graces, interrupt: &interrupt, at_once: &at_once };
        let (ended, said) = started.finish(terms, said, &()).await;
        let (output, errors) = said.unwrap_or_default();
        match ended.map_err(told)? {
            Ended::Exited(status) if status.success() => Ok(output),
            ended => Err(format!("{ended:?}: {}", errors.trim().lines().last().unwrap_or_default())),
        }
    }
}

/// What a script printed, up to a bound. What can't be read was not said.
async fn said(output: ChildStdout, errors: ChildStderr) -> (String, String) {
    let (mut from_output, mut from_errors) = (output.take(KEPT_BYTES), errors.take(KEPT_BYTES));
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let _ = tokio::join!(from_output.read_to_end(&mut output), from_errors.read_to_end(&mut errors));
    let text = |said: Vec<u8>| String::from_utf8_lossy(&said).into_owned();
    (text(output), text(errors))
}

/// A directory that no other probe has: in containers the process id is the same at every start.
fn own_directory(work_root: &Path) -> io::Result<(String, RunDirectory)> {
    let pid = std::process::id();
    for number in 0..u32::MAX {
        let name = format!("probe-{pid}-{number}");
        match RunDirectory::create(work_root, &name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return Ok((name, made?)),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}
