//! The lines of a `requirements.txt` that are accepted: names of packages, and nothing that says where to get them.
//!
//! The author of the file can't give the installer an address, a path or an option. What is handed on is written anew
//! from what was read, never copied.

use std::collections::BTreeSet;

/// The most that a file may have.
pub(crate) const MAX_BYTES: u64 = 64 << 10;
const MAX_LINES: usize = 500;

/// What a file asks for, each line once and in an order that does not tell in which they stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lines(BTreeSet<String>);

impl Lines {
    /// Reads a file.
    ///
    /// # Errors
    /// A sentence that names the line and what is wrong with it.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(content).map_err(|_| "it is not UTF-8".to_owned())?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.lines().count() > MAX_LINES {
            return Err(format!("it has more than {MAX_LINES} lines"));
        }
        let mut lines = BTreeSet::new();
        for (number, line) in joined(text) {
            let line = without_comment(&line);
            if !line.is_empty() {
                lines.insert(requirement(line).map_err(|why| format!("line {number} {why}"))?);
            }
        }
        Ok(Self(lines))
    }

    /// Whether nothing is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The file as the installer gets it.
    pub(crate) fn file(&self) -> String {
        self.0.iter().flat_map(|line| [line, "\n"]).collect()
    }
}

/// The lines, with their numbers; those that end with a backslash go on in the next.
fn joined(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = vec![];
    let mut goes_on = false;
    for (number, line) in text.lines().enumerate() {
        let (line, more) = line.strip_suffix('\\').map_or((line, false), |start| (start, true));
        match lines.last_mut() {
            Some((_, begun)) if goes_on => {
                begun.push(' ');
                begun.push_str(line);
            }
            _ => lines.push((number + 1, line.to_owned())),
        }
        goes_on = more;
    }
    lines
}

/// A comment begins a line or follows a blank.
fn without_comment(line: &str) -> &str {
    let begins = |(at, _): &(usize, &str)| *at == 0 || line[..*at].ends_with([' ', '\t']);
    let end = line.match_indices('#').find(begins).map_or(line.len(), |(at, _)| at);
    line[..end].trim_matches([' ', '\t'])
}

/// `name[extras] specifiers ; markers --hash=sha256:…`, written anew.
fn requirement(line: &str) -> Result<String, String> {
    if line.starts_with('-') {
        return Err("is an option: only packages and their --hash=sha256:… may stand there".to_owned());
    }
    let mut hashes = vec![];
    let mut rest = line;
    while let Some((before, last)) = rest.rsplit_once([' ', '\t']).filter(|(_, last)| last.starts_with('-')) {
        hashes.push(hash(last)?);
        rest = before.trim_end();
    }
    let (package, marker) = match rest.split_once(';') {
        Some((package, marker)) => (package.trim(), Some(self::marker(marker.trim())?)),
        None => (rest, None),
    };
    if package.contains(['/', '\\', '@', ':']) {
        return Err("names an address or a path: only packages of the index may be named".to_owned());
    }
    let mut written =
        self::package(package).ok_or_else(|| "is not of the form `name[extras] specifiers ; markers`".to_owned())?;
    if let Some(marker) = marker {
        written = format!("{written} ; {marker}");
    }
    hashes.sort();
    Ok(hashes.into_iter().fold(written, |line, hash| format!("{line} --hash={hash}")))
}

fn hash(option: &str) -> Result<String, String> {
    let digits = option.strip_prefix("--hash=sha256:").filter(|digits| digits.len() == 64);
    match digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        Some(digits) => Ok(format!("sha256:{}", digits.to_ascii_lowercase())),
        None => Err(format!("has the option {option:.40}: only --hash=sha256: and 64 digits may stand there")),
    }
}

/// What may stand in an expression over the machine and the interpreter.
fn marker(text: &str) -> Result<String, String> {
    let known = |c: char| c.is_ascii_alphanumeric() || " _.,'\"<>=!~()+*-".contains(c);
    if text.is_empty() || !text.chars().all(known) || text.contains("--") {
        return Err("has something after `;` that is not a marker".to_owned());
    }
    Ok(text.to_owned())
}

fn package(text: &str) -> Option<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let end = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let (name, rest) = (normal_name(&text[..end])?, text[end..].trim_start());
    let (extras, rest) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (inside, rest) = rest.split_once(']')?;
            let extras: BTreeSet<String> =
                inside.split(',').map(|extra| normal_name(extra.trim())).collect::<Option<_>>()?;
            (format!("[{}]", Vec::from_iter(extras).join(",")), rest.trim_start())
        }
        None => (String::new(), rest),
    };
    if rest.is_empty() {
        return Some(name + &extras);
    }
    let specifiers: Vec<String> = rest.split(',').map(|one| specifier(one.trim())).collect::<Option<_>>()?;
    Some(format!("{name}{extras}{}", specifiers.join(",")))
}

/// As indexes compare names. So none can look like the name of a file either.
fn normal_name(name: &str) -> Option<String> {
    let edges = |c: char| c.is_ascii_alphanumeric();
    if !name.starts_with(edges) || !name.ends_with(edges) {
        return None;
    }
    let parts = name.split(['.', '_', '-']).filter(|part| !part.is_empty());
    let normal = parts.collect::<Vec<_>>().join("-").to_ascii_lowercase();
    normal.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-').then_some(normal)
}

fn specifier(text: &str) -> Option<String> {
    let operator = ["===", "~=", "==", "!=", "<=", ">=", "<", ">"].into_iter().find(|op| text.starts_with(op))?;
    let version = text[operator.len()..].trim_start();
    let known = |c: char| c.is_ascii_alphanumeric() || "._*+!-".contains(c);
    (!version.is_empty() && version.chars().all(known)).then(|| format!("{operator}{version}"))
}

#[cfg(test)]
mod tests;
