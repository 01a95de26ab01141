//! Faults of a machine that only its kernel could make, put between one process and its C library: a wall clock that is
//! wrong, a disk that is full or stuck. The libraries are `tests/preload/*.c`, compiled where they are used.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

/// Variables for a process that is to meet a fault.
pub type Environment = Vec<(&'static str, OsString)>;

/// A wall clock that can be set wrong. Right at first.
#[derive(Debug)]
pub struct Clock(Preload);

impl Clock {
    /// A clock that is right.
    #[must_use]
    pub fn new() -> Self {
        Self(Preload::compile("clock"))
    }

    /// What makes a process go by this clock.
    #[must_use]
    pub fn environment(&self) -> Environment {
        self.0.environment("FAULT_CLOCK")
    }

    /// Sets it ahead of the true time by this much.
    ///
    /// # Panics
    /// Never: durations of tests fit.
    pub fn set_ahead(&self, by: Duration) {
        self.0.control(i64::try_from(by.as_secs()).expect("a short time"));
    }

    /// Sets it behind the true time by this much.
    ///
    /// # Panics
    /// Never: durations of tests fit.
    pub fn set_behind(&self, by: Duration) {
        self.0.control(-i64::try_from(by.as_secs()).expect("a short time"));
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// The disk under some files. Healthy at first.
#[derive(Debug)]
pub struct Disk {
    preload: Preload,
    path_part: OsString,
}

/// How a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskState {
    /// It takes everything.
    Healthy,
    /// It takes no more.
    Full,
    /// It takes everything, but no sync comes to its end.
    Stuck,
    /// It takes everything, and says that it has little room left.
    Scarce,
}

impl Disk {
    /// A healthy disk under the files whose path contains this.
    #[must_use]
    pub fn under(path_part: impl Into<OsString>) -> Self {
        Self { preload: Preload::compile("disk"), path_part: path_part.into() }
    }

    /// What makes a process have its files on this disk.
    #[must_use]
    pub fn environment(&self) -> Environment {
        let mut environment = self.preload.environment("FAULT_DISK");
        environment.push(("FAULT_DISK_PATH", self.path_part.clone()));
        environment
    }

    /// Breaks it, or heals it.
    pub fn set(&self, state: DiskState) {
        self.preload.control(match state {
            DiskState::Healthy => 0,
            DiskState::Full => 1,
            DiskState::Stuck => 2,
            DiskState::Scarce => 3,
        });
    }
}

/// A library that is loaded before all others, and the file by which it is controlled.
#[derive(Debug)]
struct Preload {
    folder: TempDir,
    control: File,
}

impl Preload {
    fn compile(name: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("lb-preload-").tempdir().expect("a temporary directory");
        let source = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("preload").join(name).with_extension("c");
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"]).arg(folder.path().join("preload.so"));
        let compiled = compile.arg(source).output().expect("a C compiler is installed, as Rust needs its linker");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        let control = File::create_new(folder.path().join("control")).expect("a new file");
        let preload = Self { folder, control };
        preload.control(0);
        preload
    }

    fn environment(&self, control: &'static str) -> Environment {
        let path = |name: &str| self.folder.path().join(name).into_os_string();
        vec![("LD_PRELOAD", path("preload.so")), (control, path("control"))]
    }

    /// Writes in place: the library has the file mapped.
    fn control(&self, value: i64) {
        self.control.write_all_at(&value.to_ne_bytes(), 0).expect("the control file is writable");
    }
}
