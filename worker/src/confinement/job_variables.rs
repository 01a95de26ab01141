//! The environment variables that an operator gives to every job, beside those of the platform.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

/// What the platform sets itself in the environment of a job, or keeps out of it.
const RESERVED: [&str; 15] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "PYTHONUNBUFFERED",
    "PYTHONDONTWRITEBYTECODE",
    "CUDA_VISIBLE_DEVICES",
    "CUDA_DEVICE_ORDER",
    "NVIDIA_VISIBLE_DEVICES",
    DATASET_ROOT,
    CACHE_ROOT,
    "PYTHONHOME",
];
/// Settings of the platform that are secret, or may hold a secret.
const SECRET: [&str; 8] = [
    "API_TOKENS",
    "ADMIN_TOKENS",
    "API_TOKENS_FILE",
    "ADMIN_TOKENS_FILE",
    "OIDC_CLIENT_SECRET_FILE",
    "REDIS_URL",
    "REDISCLI_AUTH",
    "REQUIREMENTS_INDEX",
];

/// The variable that tells jobs where data is.
pub const DATASET_ROOT: &str = "DATASET_ROOT";
/// The variable that tells jobs where caches are.
pub const CACHE_ROOT: &str = "CACHE_ROOT";

/// Environment variables for every job. Their values may be secret, and are not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct JobVariables(Vec<(String, String)>);

/// Why a list of variables can't be taken. It holds no value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobVariablesError {
    /// An entry is neither a name nor a name with its value. It may be a part of a value.
    #[error(
        "entry {0} of JOB_ENV is neither NAME nor NAME=value; for a value with a comma, set the variable in the worker's \
         environment and give its name only"
    )]
    NoName(usize),
    /// There is no such variable to pass on.
    #[error(
        "entry {0} of JOB_ENV is a name, and the worker's environment has no variable of that name: set it, or give \
         NAME=value; a value with a comma can only be passed on by its name"
    )]
    NotSet(usize),
    /// Its value is not text.
    #[error("the value of {0}, which JOB_ENV passes on, is not UTF-8")]
    NotText(String),
    /// It is named twice.
    #[error("JOB_ENV names {0} twice")]
    Twice(String),
    /// The platform sets it.
    #[error("JOB_ENV names {0}, which the platform sets itself: leave it out")]
    Reserved(String),
    /// It belongs to the platform and may be secret.
    #[error(
        "JOB_ENV names {0}, which may hold a secret of the platform: give jobs another variable with what they need"
    )]
    Secret(String),
}

impl JobVariables {
    /// Reads a list of `NAME` and `NAME=value`, separated by commas. `look_up` gives the value of a variable of the
    /// worker's own environment.
    ///
    /// # Errors
    /// If an entry is none, is not set, or is not to be given to jobs.
    pub fn read(list: &str, look_up: impl Fn(&str) -> Option<OsString>) -> Result<Self, JobVariablesError> {
        let mut variables = Self::default();
        for (index, entry) in list.split(',').enumerate().filter(|(_, entry)| !entry.trim().is_empty()) {
            let number = index + 1;
            let (name, given) = match entry.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.to_owned())),
                None => (entry.trim(), None),
            };
            if !is_name(name) {
                return Err(JobVariablesError::NoName(number));
            }
            refuse(name)?;
            let value = match given {
                Some(value) => value,
                None => look_up(name)
                    .ok_or(JobVariablesError::NotSet(number))?
                    .into_string()
                    .map_err(|_| JobVariablesError::NotText(name.to_owned()))?,
            };
            if variables.0.iter().any(|(known, _)| known == name) {
                return Err(JobVariablesError::Twice(name.to_owned()));
            }
            variables.0.push((name.to_owned(), value));
        }
        Ok(variables)
    }

    /// Adds where a folder is.
    #[must_use]
    pub fn with_folder(mut self, name: &str, folder: Option<&Path>) -> Self {
        self.0.extend(folder.map(|folder| (name.to_owned(), folder.to_string_lossy().into_owned())));
        self
    }

    /// The variables with their values.
    pub(crate) fn all(&self) -> &[(String, String)] {
        &self.0
    }
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn refuse(name: &str) -> Result<(), JobVariablesError> {
    if RESERVED.contains(&name) || name.starts_with("LEADERSBOARD_") {
        return Err(JobVariablesError::Reserved(name.to_owned()));
    }
    if SECRET.contains(&name) || name.starts_with("MLFLOW_") {
        return Err(JobVariablesError::Secret(name.to_owned()));
    }
    Ok(())
}

/// Without the values.
impl fmt::Debug for JobVariables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(list: &str) -> Result<JobVariables, JobVariablesError> {
        JobVariables::read(list, |name| match name {
            "HF_TOKEN" => Some("hf_secret,with=all".into()),
            "API_TOKENS" | "PATH" => Some("never".into()),
            _ => None,
        })
    }

    #[test]
    fn a_name_is_passed_on_and_a_value_is_given() {
        let read = read("HF_TOKEN, TORCH_HOME=/srv/cache/torch,EMPTY=,OPTS=a=b c ,").unwrap();
        let expected =
            [("HF_TOKEN", "hf_secret,with=all"), ("TORCH_HOME", "/srv/cache/torch"), ("EMPTY", ""), ("OPTS", "a=b c ")];
        assert_eq!(read.all(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let shown = format!("{read:?}");
        assert!(shown.contains("HF_TOKEN") && !shown.contains("secret") && !shown.contains("/srv"), "{shown}");
        assert_eq!(JobVariables::read("", |_| None).unwrap(), JobVariables::default());
    }

    #[test]
    fn what_is_the_platforms_is_no_job_s() {
        for name in ["PATH", "HOME", "LEADERSBOARD_RUN", "LEADERSBOARD_TOKEN", "CUDA_VISIBLE_DEVICES", "DATASET_ROOT"] {
            assert_eq!(read(name), Err(JobVariablesError::Reserved(name.to_owned())));
            assert_eq!(read(&format!("A=1,{name}=x")), Err(JobVariablesError::Reserved(name.to_owned())));
        }
        for name in ["API_TOKENS", "ADMIN_TOKENS", "REDIS_URL", "MLFLOW_TRACKING_TOKEN", "REQUIREMENTS_INDEX"] {
            assert_eq!(read(name), Err(JobVariablesError::Secret(name.to_owned())));
        }
    }

    #[test]
    fn no_error_tells_a_value() {
        for (list, error) in [
            ("A=s3cret,9s3cret", JobVariablesError::NoName(2)),
            ("A=s3cret,s3cret", JobVariablesError::NotSet(2)),
            ("=s3cret", JobVariablesError::NoName(1)),
            ("s3-cret", JobVariablesError::NoName(1)),
            ("HF_HOME", JobVariablesError::NotSet(1)),
            ("A=s3cret,A=s3cret", JobVariablesError::Twice("A".to_owned())),
        ] {
            let found = read(list).unwrap_err();
            assert!(!found.to_string().contains("s3"), "{found}");
            assert_eq!(found, error, "{list}");
        }
    }
}
