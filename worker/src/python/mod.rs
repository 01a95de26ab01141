//! The interpreter for jobs.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

/// Tells what an interpreter is, and where it imports from.
const PROBE: &str = include_str!("probe.py");
/// What comes before the fields that it prints: what else is printed at an interpreter's start does not hold it.
const BEGIN: &[u8] = b"\0\0";
const PATIENCE: Duration = Duration::from_secs(30);
/// How many links to an interpreter are followed.
const MOST_LINKS: usize = 40;

/// An interpreter that was seen to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Python {
    /// Its absolute path.
    pub path: PathBuf,
    /// Its version, such as `3.11.7`.
    pub version: String,
    /// The folders that hold it and its packages, and itself should it lie elsewhere, as absolute paths.
    pub folders: Vec<PathBuf>,
    /// What it imports from elsewhere.
    pub imports: Imports,
}

/// What an interpreter imports from outside of its own folders: packages that were installed to be edited, folders that
/// `.pth` files name, and what links lead to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Imports {
    /// Folders of `sys.path`.
    pub path: Vec<PathBuf>,
    /// Files and folders that are needed as a whole.
    pub whole: Vec<PathBuf>,
    /// The folder of its user's own packages. Jobs have another home.
    pub of_user: Option<PathBuf>,
    /// Links in what lies elsewhere. They are not followed: a job may have planted one.
    pub links: Vec<PathBuf>,
    /// A folder where not all was looked at.
    pub cut: Option<PathBuf>,
}

impl Imports {
    /// Whether there is nothing of the kind.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Python {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.version, self.path.display())
    }
}

/// No interpreter runs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PythonError {
    /// The one that was asked for does not run.
    #[error("JOB_PYTHON {path} does not run: {problem}; give the path of a Python 3 that this user can run", path = path.display())]
    Given {
        /// Its path.
        path: PathBuf,
        /// What happened.
        problem: String,
    },
    /// None was asked for, and none of the usual ones runs.
    #[error("no python3 on PATH runs: install Python 3, or set JOB_PYTHON to its path")]
    NoneFound,
}

impl Python {
    /// The interpreter `given`, by its path or by its name on `search_path`; else the first of `python3`, `python` on
    /// `search_path` and `/usr/bin/python3` that runs.
    ///
    /// # Errors
    /// If none runs.
    pub async fn find(given: Option<&Path>, search_path: &OsStr) -> Result<Self, PythonError> {
        let folders: Vec<PathBuf> = std::env::split_paths(search_path).collect();
        let on_path = |name: &str| -> Vec<PathBuf> {
            folders.iter().map(|folder| folder.join(name)).filter(|path| path.is_file()).collect()
        };
        let Some(given) = given else {
            let candidates = ["python3", "python"].into_iter().flat_map(on_path);
            for candidate in candidates.chain([PathBuf::from("/usr/bin/python3")]) {
                if let Ok(python) = probe(&candidate).await {
                    return Ok(python);
                }
            }
            return Err(PythonError::NoneFound);
        };
        let failed = |problem| PythonError::Given { path: given.to_owned(), problem };
        let is_name = !given.as_os_str().as_bytes().contains(&b'/');
        if is_name {
            let candidates = given.to_str().map(on_path).unwrap_or_default();
            let first = candidates.first().ok_or_else(|| failed("it is not on PATH".to_owned()))?;
            return probe(first).await.map_err(failed);
        }
        let path = of_environment(given);
        let found = probe(&path).await.map_err(failed)?;
        // It only finds the interpreter, by files that jobs don't see.
        let is_shim = path.parent().is_some_and(|folder| folder.ends_with("shims"));
        if is_shim { Ok(found) } else { found.started_by(&path).map_err(failed) }
    }

    /// The same, started by this path: it may be a script that does more than to start it.
    fn started_by(mut self, path: &Path) -> Result<Self, String> {
        // Not resolved further: a virtual environment knows itself by the link it was started by.
        self.path = std::path::absolute(path).map_err(|error| error.to_string())?;
        if !self.folders.iter().any(|folder| self.path.starts_with(folder)) {
            self.folders.push(self.path.clone());
        }
        Ok(self)
    }
}

/// The interpreter of a virtual environment that this path is a link to; else the path. A virtual environment knows
/// itself by the path that it is started by.
fn of_environment(path: &Path) -> PathBuf {
    let mut hop = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Some(folder) = hop.parent() else { break };
        if folder.parent().is_some_and(|above| above.join("pyvenv.cfg").is_file()) {
            return hop;
        }
        let Ok(target) = fs::read_link(&hop) else { break };
        hop = folder.join(target);
    }
    path.to_owned()
}

/// Runs an interpreter as a job would be run: with an empty environment.
async fn probe(path: &Path) -> Result<Python, String> {
    let mut command = Command::new(path);
    command
        .args(["-I", "-c", PROBE])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(PATIENCE, command.output())
        .await
        .map_err(|_| format!("it did not answer within {PATIENCE:?}"))?
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim()));
    }
    told(&output.stdout)
}

/// What the probe printed.
fn told(output: &[u8]) -> Result<Python, String> {
    let begin = output.windows(BEGIN.len()).position(|window| window == BEGIN);
    let fields = begin.map_or(&b""[..], |at| &output[at + BEGIN.len()..]);
    let mut python =
        Python { path: PathBuf::new(), version: String::new(), folders: vec![], imports: Imports::default() };
    for field in fields.split(|byte| *byte == 0) {
        let Some((kind, value)) = field.split_first() else { continue };
        let path = PathBuf::from(OsStr::from_bytes(value));
        match kind {
            b'v' => python.version = String::from_utf8_lossy(value).into_owned(),
            b'e' => python.path = path,
            b'f' if path.is_absolute() => python.folders.push(path),
            b'p' => python.imports.path.push(path),
            b'w' => python.imports.whole.push(path),
            b'u' => python.imports.of_user = Some(path),
            b'l' => python.imports.links.push(path),
            b'c' => python.imports.cut = Some(path),
            _ => {}
        }
    }
    if !python.version.starts_with("3.") {
        return Err(format!("it is version {:?}, and Python 3 is needed", python.version));
    }
    // What was found may be a script that looks for the interpreter, by settings that a job does not see.
    if !python.path.is_absolute() {
        return Err("it does not tell its own path".to_owned());
    }
    Ok(python)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[tokio::test]
    async fn what_does_not_run_is_named_with_its_cure() {
        let error = Python::find(Some(Path::new("/nowhere/python3")), OsStr::new("")).await.unwrap_err().to_string();
        assert!(error.contains("/nowhere/python3") && error.contains("give the path"), "{error}");
        let error = Python::find(Some(Path::new("/bin/false")), OsStr::new("")).await.unwrap_err().to_string();
        assert!(error.contains("/bin/false"), "{error}");
    }

    #[tokio::test]
    async fn one_is_found_on_the_path() {
        let path = OsStr::new("/usr/local/bin:/usr/bin:/bin");
        let python = Python::find(None, path).await.unwrap();
        assert!(python.path.is_absolute() && python.version.starts_with("3."), "{python}");
        assert_eq!(Python::find(Some(Path::new("python3")), path).await.unwrap(), python);
        let error = Python::find(Some(Path::new("python9")), path).await.unwrap_err().to_string();
        assert!(error.contains("JOB_PYTHON python9") && error.contains("not on PATH"), "{error}");
    }

    /// A virtual environment without packages, and the folder of those.
    fn environment(at: &Path) -> PathBuf {
        let made = std::process::Command::new("/usr/bin/python3")
            .args(["-c", "import sys, venv; venv.create(sys.argv[1], with_pip=False)"])
            .arg(at)
            .status();
        assert!(made.unwrap().success());
        let lib = fs::read_dir(at.join("lib")).unwrap().next().unwrap().unwrap().path();
        lib.join("site-packages")
    }

    fn write(path: PathBuf, text: &str) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[tokio::test]
    async fn all_that_an_environment_imports_from_elsewhere_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let packages = environment(&root.join("venv"));
        // A package in a `src` folder, and one whose folder is named by a path file with other lines.
        write(root.join("plain/src/plain/__init__.py"), "");
        write(packages.join("plain.pth"), &format!("# of mine\n{}\n", root.join("plain/src").display()));
        // As setuptools does it: a finder that knows packages, modules and parts of namespaces.
        for file in ["flat/flat/__init__.py", "flat/single.py", "flat/space/part/__init__.py"] {
            write(root.join(file), "");
        }
        let finder = format!(
            "MAPPING = {{'flat': '{0}/flat/flat', 'single': '{0}/flat/single'}}\n\
             NAMESPACES = {{'space': ['{0}/flat/space']}}\n",
            root.display()
        );
        write(packages.join("__editable___flat_finder.py"), &finder);
        write(packages.join("__editable__.flat.pth"), "import __editable___flat_finder\n");
        // A build backend of which only its note is known.
        write(root.join("meson project/own/__init__.py"), "");
        let url = format!("file://{}/meson%20project", root.display());
        let note = format!("{{\"url\": \"{url}\", \"dir_info\": {{\"editable\": true}}}}");
        write(packages.join("own-1.dist-info/direct_url.json"), &note);
        // As `uv --link-mode symlink` does it: a link for each file, into unpacked wheels.
        for file in ["linked/__init__.py", "linked/deep/data.bin", "linked-1.dist-info/RECORD", "alone.py"] {
            write(root.join("cache/x1").join(file), "");
            fs::create_dir_all(packages.join(file).parent().unwrap()).unwrap();
            symlink(root.join("cache/x1").join(file), packages.join(file)).unwrap();
        }
        // A chain of links, at whose end is a package with a link of its own: somebody else may have made that one.
        write(root.join("real/chained/__init__.py"), "");
        write(root.join("weights/w.bin"), "");
        symlink(root.join("weights"), root.join("real/chained/weights")).unwrap();
        symlink(root.join("real/chained"), root.join("second")).unwrap();
        symlink("../../../../second", packages.join("chained")).unwrap();
        symlink("/nowhere/at/all", packages.join("broken")).unwrap();
        // What is no folder of packages, however it came there.
        write(packages.join("odd.pth"), "/nowhere\nrelative\n/dev/null\n\n");
        write(packages.join("bad-1.dist-info/direct_url.json"), "[");
        write(packages.join("__editable___bad_finder.py"), "MAPPING = NAMESPACES = None\n");
        write(packages.join("bad.pth"), "import __editable___bad_finder\n");

        symlink(root.join("venv/bin/python"), root.join("job-python")).unwrap();
        for given in ["venv/bin/python", "job-python"] {
            let python = Python::find(Some(&root.join(given)), OsStr::new("")).await.unwrap();
            assert_eq!(python.path, root.join("venv/bin/python"), "an environment is known by its own path");
            let Imports { mut path, mut whole, of_user, links, cut } = python.imports;
            // Debian's own, which lies beside the system's interpreter.
            whole.retain(|path| !path.starts_with("/etc") && path != Path::new("/dev/null"));
            path.sort();
            whole.sort();
            assert_eq!(path, ["meson project", "plain/src"].map(|path| root.join(path)));
            let expected = ["cache/x1", "flat/flat", "flat/single.py", "flat/space", "real/chained", "second"];
            assert_eq!(whole, expected.map(|path| root.join(path)));
            assert_eq!(links, [root.join("real/chained/weights")]);
            assert_eq!((of_user, cut), (None, None));
        }
    }

    #[tokio::test]
    async fn what_an_environment_prints_at_its_start_is_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let packages = environment(&folder.path().join("venv"));
        write(packages.join("loud.pth"), "import sys; print('3.99 hello')\n");
        let python = Python::find(Some(&folder.path().join("venv/bin/python")), OsStr::new("")).await.unwrap();
        assert!(python.version.starts_with("3.") && !python.version.contains("99"), "{python}");
        assert_eq!(python.imports.path, Vec::<PathBuf>::new(), "{python:?}");
    }
}
