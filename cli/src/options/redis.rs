//! Where Redis is, and which keys in it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use projections::Keyspace;

use crate::data_dir::redis_url_file;

/// Where Redis is.
#[derive(Debug, Args)]
pub(crate) struct RedisOptions {
    /// The shared Redis, such as <redis://:password@host:6379> [default: the one of `up` in the data directory]
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true, global = true)]
    redis_url: Option<String>,
    /// The data directory of `leadersboard up`
    #[arg(long, env = "DATA_DIR", value_name = "DIR", default_value = "./data", global = true)]
    pub(crate) data: PathBuf,
    #[command(flatten)]
    pub(crate) namespace: NamespaceOption,
}

/// Which keys in it.
#[derive(Debug, Args)]
pub(crate) struct NamespaceOption {
    /// Several boards on one Redis each have a namespace
    #[arg(long, env = "NAMESPACE", value_name = "NAME", default_value = "main", value_parser = parse_namespace, global = true)]
    pub(crate) namespace: Keyspace,
}

fn parse_namespace(text: &str) -> Result<Keyspace, String> {
    Keyspace::new(text).map_err(|error| error.to_string())
}

impl RedisOptions {
    /// Redis's address: the one given, else the one that `up` left.
    ///
    /// # Errors
    /// If there is neither.
    pub(crate) fn url(&self) -> Result<String> {
        if let Some(url) = &self.redis_url {
            return Ok(url.clone());
        }
        let file = redis_url_file(&self.data);
        match fs::read_to_string(&file) {
            Ok(url) => Ok(url.trim().to_owned()),
            Err(error) => bail!(
                "{} can't be read: {error}. Give the data directory of a running `leadersboard up` with --data or \
                 DATA_DIR, or the address of Redis with --redis-url or REDIS_URL",
                file.display()
            ),
        }
    }

    /// The path of its UNIX socket. `None` if it has none, or the address is not known.
    pub(crate) fn socket(&self) -> Option<PathBuf> {
        let url = self.url().ok()?;
        let path = url.strip_prefix("redis+unix://").or_else(|| url.strip_prefix("unix://"))?;
        Some(PathBuf::from(path.split('?').next()?))
    }
}

/// What a role asks of its Redis.
#[derive(Debug, Args)]
pub(crate) struct StrictOption {
    /// Refuse a Redis that may lose acknowledged writes, instead of warning
    #[arg(long, env = "STRICT")]
    pub(crate) strict: bool,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn options(redis_url: Option<&str>, data: &Path) -> RedisOptions {
        let namespace = NamespaceOption { namespace: parse_namespace("main").unwrap() };
        RedisOptions { redis_url: redis_url.map(str::to_owned), data: data.to_owned(), namespace }
    }

    #[test]
    fn without_an_address_the_one_of_the_data_directory_is_used() {
        let data = tempfile::tempdir().unwrap();
        let error = options(None, data.path()).url().unwrap_err().to_string();
        for word in ["--redis-url or REDIS_URL", "--data or DATA_DIR", "redis.url can't be read"] {
            assert!(error.contains(word), "{error}");
        }
        fs::write(redis_url_file(data.path()), "redis+unix:///run/r.sock?db=1\n").unwrap();
        let left = options(None, data.path());
        assert_eq!(left.url().unwrap(), "redis+unix:///run/r.sock?db=1");
        assert_eq!(left.socket(), Some(PathBuf::from("/run/r.sock")));
        let given = options(Some("redis://host:6379"), data.path());
        assert_eq!((given.url().unwrap().as_str(), given.socket()), ("redis://host:6379", None));
    }
}
