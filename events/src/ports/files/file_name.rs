//! The names of uploaded files, and the suffixes that are taken.

use std::fmt;
use std::str::FromStr;

use crate::id::InvalidId;

/// The base name of an uploaded file: no path, and one of the suffixes that are taken.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName(String);

impl FileName {
    /// The name of the service's own file beside those of a submission.
    pub const METADATA: &'static str = "metadata.json";

    /// Checks a client's file name.
    ///
    /// # Errors
    /// A sentence that names the file, the rule and what to do.
    pub fn parse(name: &str, suffixes: &Suffixes) -> Result<Self, InvalidId> {
        let refuse = |rule: &str| Err(InvalidId(format!("file name {name:?} {rule}")));
        if name.is_empty() || name.len() > 255 {
            return refuse("must have 1 to 255 bytes");
        }
        if name.contains(['/', '\\', '\0']) || name.chars().any(char::is_control) {
            return refuse("must be a base name without '/', '\\' or control characters");
        }
        if name.starts_with('.') {
            return refuse("must not begin with a dot: rename it, or put it into a .zip");
        }
        if name == Self::METADATA {
            return refuse("is the service's own: rename it, or put it into a .zip");
        }
        if !suffixes.take(name) {
            return refuse(&format!("must end in {suffixes}: {}", suffixes.advice(name)));
        }
        Ok(Self(name.to_owned()))
    }

    /// Reads the name of a stored file back. `None` if no upload can have had it.
    #[must_use]
    pub fn of_stored(name: &str) -> Option<Self> {
        let is_own = name == Self::METADATA || name.starts_with('.') || name.contains('/');
        (!is_own).then(|| Self(name.to_owned()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether its content is unpacked into the work directory.
    #[must_use]
    pub fn is_archive(&self) -> bool {
        [".zip", ".tar.gz", ".tgz"].iter().any(|suffix| self.0.ends_with(suffix))
    }
}

/// The suffixes that an uploaded file may have: always `.py`, `.yaml`, `.zip` and `.tar.gz`, and what an operator adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suffixes(Vec<String>);

impl Suffixes {
    /// The suffixes that are always taken.
    pub const ALWAYS: [&'static str; 4] = [".py", ".yaml", ".zip", ".tar.gz"];

    /// Whether a file of this name is taken.
    #[must_use]
    pub fn take(&self, name: &str) -> bool {
        self.0.iter().any(|suffix| name.ends_with(suffix))
    }

    /// What to do with a file that is not taken.
    fn advice(&self, name: &str) -> String {
        const OTHER_ARCHIVES: [&str; 9] =
            [".tar", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst", ".7z", ".rar", ".gz"];
        let lower = name.to_ascii_lowercase();
        if self.take(&lower) {
            return "write the suffix in lower case".to_owned();
        }
        for (suffix, instead) in [(".yml", ".yaml"), (".tgz", ".tar.gz")] {
            if lower.ends_with(suffix) {
                return format!("rename it to {:?}", format!("{}{instead}", &name[..name.len() - suffix.len()]));
            }
        }
        if OTHER_ARCHIVES.iter().any(|suffix| lower.ends_with(suffix)) {
            return "unpack it, and make a .zip or a .tar.gz of its content".to_owned();
        }
        "put it into a .zip or a .tar.gz, which is unpacked beside the program".to_owned()
    }
}

impl Default for Suffixes {
    fn default() -> Self {
        Self(Self::ALWAYS.map(str::to_owned).to_vec())
    }
}

/// Adds a list such as `.csv,.json` to the suffixes that are always taken.
impl FromStr for Suffixes {
    type Err = InvalidId;

    fn from_str(list: &str) -> Result<Self, InvalidId> {
        let mut suffixes = Self::default();
        for suffix in list.split(',').map(str::trim).filter(|suffix| !suffix.is_empty()) {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_+".contains(c);
            if !suffix.starts_with('.') || suffix.len() < 2 || suffix.len() > 32 || !suffix.chars().all(is_plain) {
                return Err(InvalidId(format!(
                    "suffix {suffix:?} must be a dot and 1 to 31 letters, digits, dots, hyphens, underscores or plus \
                     signs, such as .csv"
                )));
            }
            if !suffixes.0.iter().any(|known| known == suffix) {
                suffixes.0.push(suffix.to_owned());
            }
        }
        Ok(suffixes)
    }
}

impl fmt::Display for Suffixes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some((last, others)) = self.0.split_last() else { return Ok(()) };
        write!(f, "{} or {last}", others.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_refused_name_is_named_with_the_rule_it_breaks() {
        let suffixes = Suffixes::default();
        for good in ["main.py", "config.yaml", "data.zip", "data.tar.gz", "zoë.py"] {
            assert_eq!(FileName::parse(good, &suffixes).unwrap().as_str(), good);
        }
        for bad in ["", "../main.py", "/main.py", "a\\b.py", "a\0.py", "main.exe", "data.tar", ".hidden.py", "a\n.py"] {
            let refusal = FileName::parse(bad, &suffixes).unwrap_err().to_string();
            assert!(refusal.contains(&format!("{bad:?}")), "{refusal}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        for (name, advice) in [
            ("config.yml", "rename it to \"config.yaml\""),
            ("Config.YML", "rename it to \"Config.yaml\""),
            ("code.tgz", "rename it to \"code.tar.gz\""),
            ("MAIN.PY", "write the suffix in lower case"),
            ("data.csv", "put it into a .zip or a .tar.gz"),
            ("README", "put it into a .zip or a .tar.gz"),
            ("data.tar", "unpack it, and make a .zip"),
            ("data.tar.bz2", "unpack it, and make a .zip"),
            ("data.7z", "unpack it, and make a .zip"),
        ] {
            let refusal = FileName::parse(name, &Suffixes::default()).unwrap_err().to_string();
            assert!(refusal.contains(".py, .yaml, .zip or .tar.gz: ") && refusal.contains(advice), "{refusal}");
        }
    }

    #[test]
    fn an_operator_widens_the_suffixes_and_none_takes_the_services_own_file() {
        let suffixes: Suffixes = " .csv, .json,.zip,.yml,".parse().unwrap();
        assert_eq!(suffixes.to_string(), ".py, .yaml, .zip, .tar.gz, .csv, .json or .yml");
        for good in ["main.py", "a.csv", "a.json", "config.yml"] {
            FileName::parse(good, &suffixes).unwrap();
        }
        let refusal = FileName::parse("metadata.json", &suffixes).unwrap_err().to_string();
        assert!(refusal.contains("the service's own"), "{refusal}");
        assert_eq!(FileName::of_stored("metadata.json"), None);
        assert_eq!(FileName::of_stored("a.json").unwrap().as_str(), "a.json");
        for bad in ["csv", ".", ".c/v", "*.csv", ".csv;.json", ".ö"] {
            assert!(bad.parse::<Suffixes>().is_err(), "{bad}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_name_that_is_taken_is_one_plain_component_and_comes_back_from_storage(
            name in "([a.%/\\\\\u{ff0e}\u{ff0f}]|\\PC|\\PC|[\\x00-\\x20]){0,12}(\\.py|\\.zip|\\.PY)?",
        ) {
            match FileName::parse(&name, &Suffixes::default()) {
                Ok(taken) => {
                    let mut parts = std::path::Path::new(taken.as_str()).components();
                    let is_plain = matches!(parts.next(), Some(std::path::Component::Normal(part)) if part == name.as_str());
                    prop_assert!(is_plain && parts.next().is_none(), "{:?}", taken);
                    prop_assert_eq!(FileName::of_stored(&name), Some(taken));
                }
                Err(refusal) => prop_assert!(!refusal.to_string().contains(['\n', '\r', '\u{1b}']), "{:?}", refusal),
            }
        }
    }
}
