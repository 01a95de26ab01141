//! The names of an archive's entries: bytes first, then text, then paths.

pub(crate) mod encoding;
mod work_path;

use events::ports::ArchiveLimits;

use encoding::Encoding;
use work_path::normalise;

/// How many names are shown as examples.
const MAX_EXAMPLES: usize = 5;
/// The most bytes that may be kept of names until their encoding is known.
const MAX_UNDECIDED_BYTES: usize = 4 << 20;

/// Reads the names of one archive.
#[derive(Debug, Default)]
pub(crate) struct Names {
    /// The encoding of names that are not UTF-8; `None` until it is known.
    pub(crate) encoding: Option<Encoding>,
    /// Names that are not UTF-8, while their encoding is not known.
    pub(crate) undecided: Vec<Vec<u8>>,
    /// How many names were not UTF-8, or held backslashes.
    pub(crate) renamed: usize,
    /// The first of those, as they were read.
    pub(crate) examples: Vec<String>,
    undecided_bytes: usize,
}

/// A name that keeps the rules for paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) path: String,
    /// It ends as the names of folders do.
    pub(crate) is_folder: bool,
}

impl Names {
    /// Names in this encoding, where they are not UTF-8.
    pub(crate) fn of(encoding: Option<Encoding>) -> Self {
        Self { encoding, ..Self::default() }
    }

    /// Reads a name: as UTF-8, else in the archive's encoding, with the backslashes of Windows as slashes. All rules are
    /// checked after that. `None` for the root itself, and while the encoding is not known.
    ///
    /// # Errors
    /// The rule that the name breaks.
    pub(crate) fn read(&mut self, raw: &[u8], limits: &ArchiveLimits) -> Result<Option<Name>, String> {
        let (text, is_decoded) = match (std::str::from_utf8(raw), self.encoding) {
            (Ok(text), _) => (text.to_owned(), false),
            (Err(_), Some(encoding)) => (encoding.decode(raw), true),
            (Err(_), None) => {
                self.undecided_bytes += raw.len();
                if self.undecided_bytes > MAX_UNDECIDED_BYTES {
                    return Err(format!("has more than {} MiB of names that are not UTF-8", MAX_UNDECIDED_BYTES >> 20));
                }
                self.undecided.push(raw.to_vec());
                return Ok(None);
            }
        };
        let slashed = text.replace('\\', "/");
        let Some(path) = normalise(&slashed, limits)? else { return Ok(None) };
        if is_decoded || slashed != text {
            self.renamed += 1;
            if self.examples.len() < MAX_EXAMPLES {
                self.examples.push(path.clone());
            }
        }
        Ok(Some(Name { path, is_folder: slashed.ends_with('/') }))
    }
}

/// Whether an entry is what macOS puts beside the files that were meant.
pub(crate) fn is_left_out(path: &str) -> bool {
    path == "__MACOSX" || path.starts_with("__MACOSX/") || base_name(path) == ".DS_Store"
}

/// Whether a file may be what macOS keeps of another's attributes, by its name.
pub(crate) fn may_be_apple_double(path: &str) -> bool {
    base_name(path).starts_with("._")
}

fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use encoding_rs::SHIFT_JIS;

    use super::*;

    fn read(names: &mut Names, raw: &[u8]) -> Result<Option<Name>, String> {
        names.read(raw, &ArchiveLimits::default())
    }

    #[test]
    fn a_slash_that_is_half_of_a_character_is_none() {
        let mut names = Names::of(Some(Encoding::Web(SHIFT_JIS)));
        let name = |path: &str, is_folder| Ok(Some(Name { path: path.to_owned(), is_folder }));
        assert_eq!(read(&mut names, b"\x95\x5c.csv"), name("表.csv", false));
        assert_eq!(read(&mut names, b"\x95\x5c\\\x95\x5c"), name("表/表", false));
        assert_eq!(read(&mut names, b"\x95\x5c\\"), name("表", true));
        assert_eq!((names.renamed, names.examples.len()), (3, 3));
    }

    #[test]
    fn no_name_leads_out_once_it_is_read() {
        for raw in [&b"..\\x"[..], b"a\\..\\x", b"\\x", b"\\\\server\\x", b"C:\\x", b"c:/x", b"C:", b"\x95\x5c\\..\\x"]
        {
            let mut names = Names::of(Some(Encoding::Web(SHIFT_JIS)));
            let refusal = read(&mut names, raw).unwrap_err();
            assert!(refusal.contains("absolute") || refusal.contains(".."), "{refusal}");
        }
    }

    #[test]
    fn a_name_waits_for_its_encoding() {
        let mut names = Names::default();
        assert_eq!(read(&mut names, b"\x95\x5c.csv"), Ok(None));
        assert_eq!(names.undecided, [b"\x95\x5c.csv".to_vec()]);
        let long = vec![0xff; MAX_UNDECIDED_BYTES];
        assert!(read(&mut names, &long).unwrap_err().contains("not UTF-8"));
    }

    #[test]
    fn what_macos_adds_is_left_out() {
        for path in ["__MACOSX", "__MACOSX/a/._b", ".DS_Store", "a/b/.DS_Store"] {
            assert!(is_left_out(path), "{path}");
        }
        for path in ["a/__MACOSX", "__MACOSX.py", ".DS_Store.py", "DS_Store"] {
            assert!(!is_left_out(path), "{path}");
        }
        assert!(may_be_apple_double("a/._b") && !may_be_apple_double("._a/b"));
    }
}
