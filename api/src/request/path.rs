//! Paths inside a work directory, as clients name them.

use std::fmt;

/// The most bytes such a path may have.
const MAX_BYTES: usize = 512;

/// A path of plain components below the work directory. Nothing that can lead out of it can be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RelativePath(String);

impl RelativePath {
    /// Checks the path a client gave in the form field `field`; it must end in `ending`.
    ///
    /// # Errors
    /// A sentence that names the field, the path and the rule.
    pub(crate) fn parse(field: &str, path: &str, ending: &str) -> Result<Self, String> {
        let shown: String = path.chars().take(100).collect();
        let refuse = |rule: &str| Err(format!("{field} {shown:?} {rule}"));
        if path.is_empty() || path.len() > MAX_BYTES {
            return refuse(&format!("must have 1 to {MAX_BYTES} bytes"));
        }
        if path.contains('\\') || path.chars().any(char::is_control) {
            return refuse("may hold neither a backslash nor NUL nor another control character");
        }
        if path.starts_with('-') {
            return refuse(
                "may not begin with '-': Python would take it for an option. Rename it, or put it in a folder",
            );
        }
        if path.starts_with('/') {
            return refuse("must be relative to the work directory");
        }
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return refuse("may have no empty component, no '.' and no '..'");
        }
        if !path.ends_with(ending) {
            let rename = if ending == ".yaml" && path.ends_with(".yml") { ": rename the file" } else { "" };
            return refuse(&format!("must end in {ending}{rename}"));
        }
        Ok(Self(path.to_owned()))
    }

    /// The path.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The part of a path after its last slash.
pub(crate) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn plain_paths_are_taken_as_they_are() {
        for path in ["main.py", "src/train.py", "a b/ö.py", "..a/b...py", ".hidden/x.py", "a/-b.py", "a-b.py"] {
            assert_eq!(RelativePath::parse("entrypoint", path, ".py").unwrap().as_str(), path);
        }
    }

    #[test]
    fn whatever_could_lead_out_is_refused_by_name() {
        let long = format!("{}.py", "x".repeat(MAX_BYTES));
        for path in [
            "",
            "/main.py",
            "../main.py",
            "a/../main.py",
            "a/./main.py",
            "./main.py",
            "-c.py",
            "--help.py",
            "-m/main.py",
            "a//main.py",
            "main.py/",
            "a\\main.py",
            "main.py\0",
            "ma\nin.py",
            "main.sh",
            "main.py.txt",
            "..",
            &long,
        ] {
            let error = RelativePath::parse("entrypoint", path, ".py").unwrap_err();
            assert!(error.starts_with("entrypoint \""), "{error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_taken_stays_below_the_work_directory(
            path in "([a.%/\\\\\u{ff0e}\u{ff0f}-]|\\.\\.|\\PC|\\PC|[\\x00-\\x20]){0,12}(\\.py)?",
        ) {
            if let Ok(taken) = RelativePath::parse("entrypoint", &path, ".py") {
                let path = std::path::Path::new(taken.as_str());
                prop_assert!(path.components().all(|part| matches!(part, std::path::Component::Normal(_))), "{:?}", path);
                prop_assert!(taken.as_str().ends_with(".py") && !taken.as_str().contains(['\0', '\n', '\\']));
            }
        }
    }
}
