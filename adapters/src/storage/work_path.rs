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
pub(super) fn normalise(raw: &[u8], limits: &ArchiveLimits) -> Result<Option<String>, String> {
    let Ok(name) = std::str::from_utf8(raw) else {
        return Err(format!("entry {:?} has a name that is not UTF-8", String::from_utf8_lossy(raw)));
    };
    let refuse = |rule: &str| Err(format!("entry {name:?} {rule}"));
    if name.len() > MAX_PATH_BYTES {
        return Err(format!("an entry has a name longer than {MAX_PATH_BYTES} bytes"));
    }
    if name.starts_with('/') {
        return refuse("has an absolute path");
    }
    if name.contains('\\') || name.chars().any(char::is_control) {
        return refuse("has a backslash or a control character in its name");
    }
    let mut path = name;
    while let Some(rest) = path.strip_prefix("./") {
        path = rest;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_out_in_one_form_or_not_at_all() {
        let path = |raw: &[u8]| normalise(raw, &ArchiveLimits::default());
        assert_eq!(path(b"./pkg/a.py"), Ok(Some("pkg/a.py".to_owned())));
        assert_eq!(path(b"pkg/"), Ok(Some("pkg".to_owned())));
        assert_eq!(path(b"./"), Ok(None));
        for bad in [&b"/etc/passwd"[..], b"../x", b"a/../b", b"a//b", b"a/./b", b"a\\b", b"a\0b", b"\xff", b"a\nb"] {
            assert!(path(bad).is_err(), "{:?}", String::from_utf8_lossy(bad));
        }
        assert!(path("d/".repeat(33).as_bytes()).unwrap_err().contains("nested deeper"));
    }
}
