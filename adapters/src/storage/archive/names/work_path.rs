//! Paths inside a work directory, as archives name them.

use events::ports::ArchiveLimits;

/// The longest path, in bytes.
const MAX_PATH_BYTES: usize = 1024;
/// The longest component, in bytes: what every file system takes.
const MAX_COMPONENT_BYTES: usize = 255;

/// Checks an archive's name for an entry and gives it in one form: no leading `./`, no trailing `/`.
///
/// `None` is the root itself, which archives made with `tar -C dir .` name.
///
/// # Errors
/// The rule the name breaks.
pub(crate) fn normalise(name: &str, limits: &ArchiveLimits) -> Result<Option<String>, String> {
    let refuse = |rule: &str| Err(format!("entry {name:?} {rule}"));
    if name.is_empty() {
        return Err("has an entry without a name. Make the archive anew".to_owned());
    }
    if name.len() > MAX_PATH_BYTES {
        return Err(format!("an entry has a name longer than {MAX_PATH_BYTES} bytes"));
    }
    if name.chars().any(char::is_control) {
        return refuse("has a control character in its name");
    }
    let mut path = name;
    while let Some(rest) = path.strip_prefix("./") {
        path = rest;
    }
    if name.starts_with('/') || begins_with_drive(path) {
        return refuse("has an absolute path");
    }
    let path = path.strip_suffix('/').unwrap_or(path);
    if path.is_empty() || path == "." {
        return Ok(None);
    }
    let components: Vec<&str> = path.split('/').collect();
    if components.contains(&"..") {
        return refuse("has .. in its path");
    }
    if components.iter().any(|part| part.is_empty() || *part == "." || part.len() > MAX_COMPONENT_BYTES) {
        return refuse("has an empty, a . or an overlong component in its path");
    }
    if components.len() > limits.depth {
        return Err(format!("entry {name:?} is nested deeper than {} folders", limits.depth));
    }
    Ok(Some(path.to_owned()))
}

/// Whether a name begins as paths of Windows do, such as `C:/`.
fn begins_with_drive(name: &str) -> bool {
    let first = name.split('/').next().unwrap_or_default().as_bytes();
    matches!(first, [letter, b':'] if letter.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_out_in_one_form_or_not_at_all() {
        let path = |name: &str| normalise(name, &ArchiveLimits::default());
        for (name, wanted) in [("./pkg/a.py", "pkg/a.py"), ("pkg/", "pkg"), ("a:b/c", "a:b/c"), ("c:d", "c:d")] {
            assert_eq!(path(name), Ok(Some(wanted.to_owned())));
        }
        assert_eq!(path("./"), Ok(None));
        assert!(path("").unwrap_err().contains("without a name"));
        for bad in ["/etc/passwd", "../x", "a/../b", "a//b", "a/./b", "C:/x", "a\0b", "./C:/x", "a\nb", "a\u{85}b"] {
            assert!(path(bad).is_err(), "{bad:?}");
        }
        assert!(path(&"d/".repeat(33)).unwrap_err().contains("nested deeper"));
    }
}
