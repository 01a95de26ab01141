//! Why an archive is refused: a rule that it breaks, or damage. Both are its author's to cure; a failing disk is not.

use std::io;

use nix::errno::Errno;

/// A rule that an archive breaks, carried through `io::Error` where a library stands between.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

/// A flaw in the content of an entry, carried in the same way.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Flaw(pub(super) &'static str);

/// An entry whose content can't be read is its author's to cure, unless the system says otherwise.
pub(super) fn damaged(path: &str, error: io::Error) -> io::Error {
    if is_refusal(&error) || is_of_system(&error) {
        return error;
    }
    let why = in_words(&error);
    let rule = format!("is damaged: the content of entry {path:?} can't be read ({why}). Make the archive anew");
    io::Error::other(Refusal(rule))
}

fn is_refusal(error: &io::Error) -> bool {
    error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Refusal>)
}

/// Refuses an archive. The sentence is put behind the name of the archive.
pub(super) fn refuse<T>(rule: String) -> io::Result<T> {
    Err(io::Error::other(Refusal(rule)))
}

/// Whether an error is the system's, and not about a name that the archive brings.
pub(super) fn is_of_system(error: &io::Error) -> bool {
    let about_names = [Errno::EEXIST, Errno::ENOTDIR, Errno::EISDIR, Errno::ENAMETOOLONG, Errno::EINVAL, Errno::EILSEQ];
    error.raw_os_error().is_some_and(|number| !about_names.contains(&Errno::from_raw(number)))
        || matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Returns the sentence of a refusal, to be put behind the name of the archive.
pub(super) fn sentence(error: &io::Error) -> String {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Refusal>()) {
        Some(Refusal(rule)) => rule.clone(),
        None => format!("is damaged, or is of another format ({}). Make the archive anew", in_words(error)),
    }
}

/// What a library says of the bytes that it was given, in plain words.
fn in_words(error: &io::Error) -> &'static str {
    if let Some(Flaw(flaw)) = error.get_ref().and_then(|inner| inner.downcast_ref::<Flaw>()) {
        return flaw;
    }
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends too early",
        io::ErrorKind::InvalidData => "its checksum is wrong, or it is not what its header says",
        _ => "it is not as this format has it",
    }
}
