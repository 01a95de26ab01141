//! Builds an environment: a few programs one after the other, each confined as a job is, in a directory of their own.
//!
//! Only one of them has a network, and it knows no address but the index's and what the index names. No code of a
//! package runs: wheels are unpacked, and what is compiled is not imported.

use std::path::PathBuf;
use std::time::Duration;

use super::demand::{Demand, Packages};
use super::environments::interpreter;
use super::lines::Lines;
use crate::confinement::limits::Breach;
use crate::confinement::program;
use crate::confinement::run_directory::RunDirectory;
use crate::confinement::runner::{Confined, Terms};
use crate::confinement::supervise::process::Ended;
use crate::confinement::{Needs, Network};
use crate::job::outcome::Outcome;
use crate::log::job_log::JobLog;
use crate::recovery::leftovers::MARKER;

/// How long each of the programs may take.
pub(crate) const LIMIT: Duration = Duration::from_mins(10);
/// How many there are.
pub(crate) const PROGRAMS: u32 = 3;

/// One of the programs.
struct Step {
    program: PathBuf,
    arguments: Vec<String>,
    network: Network,
}

/// How a program did not do what it was to do.
enum Failed {
    /// It said no, or took too much.
    Refused(String),
    /// It is not for its requirements to answer for, or is to end.
    Otherwise(Outcome),
}

/// Builds what these lines ask for in a directory, and gives where in it.
///
/// # Errors
/// What is to be recorded of the run instead.
pub(crate) async fn install(
    packages: &Packages,
    demand: &Demand<'_>,
    directory: &RunDirectory,
    lines: &Lines,
) -> Result<PathBuf, Outcome> {
    let text = |path: PathBuf| path.to_string_lossy().into_owned();
    let file = directory.work().join("requirements.txt");
    std::fs::write(&file, lines.file())
        .map_err(|error| Outcome::broken(format!("writing requirements.txt: {error}")))?;
    let environment = directory.output().join("environment");
    let Packages { installer, python, .. } = packages;
    let uv = |network, arguments: &[&str]| Step {
        program: installer.uv().to_owned(),
        arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
        network,
    };
    let (target, base) = (text(environment.clone()), text(python.path.clone()));
    let make = uv(Network::None, &["venv", "--quiet", "--no-config", "--relocatable", "--python", &base, &target]);
    let (inner, file) = (text(interpreter(&environment)), text(file));
    let install = uv(
        Network::Host,
        &[
            "pip",
            "install",
            "--no-config",
            "--python",
            &inner,
            "--only-binary",
            ":all:",
            "--link-mode",
            "copy",
            "-r",
            &file,
        ],
    );
    // The interpreter alone, which looks at nothing that was installed. Else every job would compile it all anew.
    let compile = ["-I", "-S", "-m", "compileall", "-q", "-j", "0", &text(environment.join("lib"))].map(str::to_owned);
    let compile = Step { program: python.path.clone(), arguments: compile.to_vec(), network: Network::None };
    for step in [make, install] {
        run(packages, demand, directory, &demand.log.aside(), step).await.map_err(|failed| match failed {
            Failed::Refused(why) => demand.refused(format!("requirements.txt could not be installed: {why}")),
            Failed::Otherwise(outcome) => outcome,
        })?;
    }
    // Some packages hold files that no interpreter of this version can compile, and says so at length.
    match run(packages, demand, directory, &JobLog::shown(None, 0, None), compile).await {
        Ok(()) | Err(Failed::Refused(_)) => Ok(environment),
        Err(Failed::Otherwise(outcome)) => Err(outcome),
    }
}

/// Runs one of the programs to its end.
async fn run(
    packages: &Packages,
    demand: &Demand<'_>,
    directory: &RunDirectory,
    log: &JobLog,
    step: Step,
) -> Result<(), Failed> {
    let Demand { marker, class, interrupt, .. } = *demand;
    let Packages { sandbox, installer, python, graces, stop, .. } = packages;
    let needs = Needs { readable: installer.readable(), network: Some(step.network), ..Needs::default() };
    let failed = |what: &str, error: std::io::Error| Failed::Otherwise(Outcome::broken(format!("{what}: {error}")));
    let confinement = sandbox.confine(demand.name, directory, needs, class).await;
    let confinement = confinement.map_err(|error| failed("the sandbox of an installation could not be made", error))?;
    let mut environment = program::environment(python, directory, &confinement.isolation);
    environment.extend(installer.environment());
    environment.push((MARKER.to_owned(), marker.to_owned()));
    let spec = confinement.spec(&step.program, step.arguments, directory.work(), environment, marker);
    let started = Confined::start(sandbox, confinement, directory, &spec, marker).await;
    let started = started.map_err(|error| failed("an installation could not be started", error))?;
    let terms = Terms { limit: LIMIT, graces: *graces, interrupt, at_once: &stop.waiting };
    // None of the programs leaves a process that holds the streams open.
    let (ended, _) = started.finish(terms, |output, errors| log.clone().pump_both(output, errors), &()).await;
    match ended {
        Ok(Ended::Exited(status)) if status.success() => Ok(()),
        Ok(Ended::Exited(status)) if status.code().is_none() => {
            Err(Failed::Otherwise(Outcome::broken(format!("an installation was ended by somebody: {status}"))))
        }
        Ok(Ended::Exited(_)) => Err(verdict(&log.kept())),
        Ok(Ended::TimedOut) => Err(Failed::Refused(format!("it took longer than {} min", LIMIT.as_secs() / 60))),
        Ok(Ended::Exceeded(Breach::Platform(why))) => Err(Failed::Otherwise(Outcome::broken(why))),
        Ok(Ended::Exceeded(breach)) => Err(Failed::Refused(too_much(&breach))),
        Ok(Ended::Interrupted(reason)) => Err(Failed::Otherwise(Outcome::stopped(reason))),
        Err(error) => Err(failed("an installation could not be waited for", error)),
    }
}

fn too_much(breach: &Breach) -> String {
    let what = match breach {
        Breach::Memory(_) => "memory",
        Breach::Disk(..) | Breach::Files | Breach::Closed(_) | Breach::Platform(_) => "disk",
    };
    format!("it took more {what} than the job's class allows")
}

/// What the installer's last words tell: whether its index did not serve it, or why it said no.
fn verdict(said: &str) -> Failed {
    const UNREACHABLE: &[&str] = &[
        "error sending request",
        "error decoding response body",
        "operation timed out",
        "HTTP status server error",
        "429 Too Many Requests",
        "401 Unauthorized",
    ];
    /// What the worker's machine lacks: room, descriptors of all processes, a disk that works.
    const LACKS: &[&str] = &["(os error 28)", "(os error 122)", "(os error 23)", "(os error 5)", "(os error 30)"];
    let why = last_words(said);
    if LACKS.iter().any(|words| said.contains(words)) {
        return Failed::Otherwise(Outcome::broken(format!(
            "the worker's machine lacks what an installation needs: {why}"
        )));
    }
    if UNREACHABLE.iter().any(|words| said.contains(words)) {
        return Failed::Otherwise(Outcome::broken(format!("the package index does not answer as it should: {why}")));
    }
    Failed::Refused(why)
}

/// The last line that says what is wrong; what follows it only points at it.
fn last_words(said: &str) -> String {
    let lines = || said.lines().rev().map(str::trim).filter(|line| !line.is_empty());
    let told = |line: &&str| ["error:", "cause:", "Caused by:"].iter().any(|start| line.starts_with(start));
    let line = lines().find(told).or_else(|| lines().next()).unwrap_or("uv said nothing");
    let line = ["error:", "cause:", "Caused by:"].iter().find_map(|start| line.strip_prefix(start)).unwrap_or(line);
    line.trim().chars().filter(|c| !c.is_control()).take(600).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_in_the_index_is_told_from_an_index_that_is_away() {
        let refused = |said: &str| match verdict(said) {
            Failed::Refused(why) => why,
            Failed::Otherwise(outcome) => panic!("{outcome:?}"),
        };
        let absent = "Using Python 3.11.7 environment at: e\nerror: No solution found when resolving dependencies\n  \
                      cause: Because nosuch was not found in the package registry, it is unsatisfiable.\n";
        assert_eq!(refused(absent), "Because nosuch was not found in the package registry, it is unsatisfiable.");
        let odd = "error: Couldn't parse requirement in `r.txt` at position 0\n  cause: no such version\n    a==x\n    ^^^^\n";
        assert_eq!(refused(odd), "no such version");
        assert_eq!(refused(""), "uv said nothing");
        let away = "error: Request failed after 1 retry in 1.5s\n  cause: Failed to fetch: http://127.0.0.1:9/simple/a/\n  \
                    cause: error sending request for url (http://127.0.0.1:9/simple/a/)\n  cause: tcp connect error\n";
        assert!(matches!(verdict(away), Failed::Otherwise(Outcome::GivenBack(..))));
    }
}
