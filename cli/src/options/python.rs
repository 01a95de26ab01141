//! The interpreter for jobs.

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use worker::Python;

/// The interpreter for jobs.
#[derive(Debug, Args)]
pub(crate) struct PythonOption {
    /// The interpreter for jobs: a path, or a name on PATH [default: the first of python3, python on PATH, then
    /// /usr/bin/python3]
    #[arg(long, env = "JOB_PYTHON")]
    job_python: Option<PathBuf>,
}

impl PythonOption {
    /// Finds the interpreter and asks it what it is.
    ///
    /// # Errors
    /// If none runs.
    pub(crate) async fn find(&self) -> Result<Python> {
        let path = std::env::var_os("PATH");
        Ok(Python::find(self.job_python.as_deref(), path.as_deref().unwrap_or(OsStr::new(""))).await?)
    }
}
