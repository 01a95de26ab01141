//! The program of a job as its author knows it: interpreter, arguments, environment.

use std::path::{Path, PathBuf};

use events::JobId;

use crate::confinement::job_variables::JobVariables;
use crate::confinement::run_directory::RunDirectory;
use crate::confinement::{Confinement, Isolation, Spec};
use crate::python::Python;
use crate::recovery::leftovers::MARKER;

/// What is run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program<'a> {
    pub(crate) python: &'a Python,
    pub(crate) entrypoint: &'a str,
    pub(crate) config_file: &'a str,
    pub(crate) directory: &'a RunDirectory,
    pub(crate) job: JobId,
    /// Marks every process of the run; begins with the worker's name.
    pub(crate) marker: &'a str,
    /// What the operator gives every job beside that.
    pub(crate) variables: &'a JobVariables,
    /// What its GPUs need beside that.
    pub(crate) environment: &'a [(String, String)],
}

impl Program<'_> {
    /// `<python> <entrypoint> --config <config_file> --output <directory>`, held by this confinement.
    ///
    /// Its environment is what stands here and nothing else; none of these parts names what another does.
    pub(crate) fn spec(&self, confinement: &Confinement) -> Spec {
        let mut environment = environment(self.python, self.directory, &confinement.isolation);
        environment.extend_from_slice(self.variables.all());
        environment.push(("LEADERSBOARD_JOB_ID".to_owned(), self.job.to_string()));
        environment.push((MARKER.to_owned(), self.marker.to_owned()));
        environment.extend_from_slice(self.environment);
        let output = text(&self.directory.output());
        let [entrypoint, config_file] = [self.entrypoint, self.config_file].map(as_path);
        let arguments = [&entrypoint, "--config", &config_file, "--output", &output];
        confinement.spec(
            &self.python.path,
            arguments.map(|argument: &str| argument.to_owned()).to_vec(),
            self.directory.work(),
            environment,
            self.marker,
        )
    }
}

/// A path of the work directory as an argument that no program takes for an option.
fn as_path(path: &str) -> String {
    if path.starts_with('-') { format!("./{path}") } else { path.to_owned() }
}

/// The environment of everything that runs in a run's directory.
pub(crate) fn environment(python: &Python, directory: &RunDirectory, isolation: &Isolation) -> Vec<(String, String)> {
    let packages = python.path.parent().map(text).unwrap_or_default();
    // Short where it can be: sockets in it have paths of at most 107 bytes.
    let temporary = match isolation {
        Isolation::Full(_) => PathBuf::from("/tmp"),
        Isolation::Off | Isolation::Floor(_) => directory.temporary(),
    };
    let environment = [
        ("PATH", format!("{packages}:/usr/local/bin:/usr/bin:/bin")),
        ("HOME", text(&directory.home())),
        ("TMPDIR", text(&temporary)),
        ("USER", "job".to_owned()),
        ("LOGNAME", "job".to_owned()),
        ("LANG", "C.UTF-8".to_owned()),
        ("LC_ALL", "C.UTF-8".to_owned()),
        ("PYTHONUNBUFFERED", "1".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
    ];
    environment.map(|(name, value)| (name.to_owned(), value)).to_vec()
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_of_a_job_is_an_option() {
        assert_eq!(["-c.py", "--x/main.py", "main.py"].map(as_path), ["./-c.py", "./--x/main.py", "main.py"]);
    }
}
