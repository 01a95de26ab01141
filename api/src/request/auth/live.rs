//! The tokens while the server runs: their files are read again and again, and a whole good set replaces the last one.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::caller::Role;
use super::entries::{Entry, MAX_FILE_BYTES, Place, TokenError, of_file, of_list};
use super::tokens::{Strangers, Tokens};

/// How often to read the files. A change counts when two reads in a row have seen it, for a file may be half written.
const POLL: Duration = Duration::from_millis(500);

/// The permission of all users of the machine to write a file, and to read it.
const OTHERS_WRITE: u32 = 0o002;
const OTHERS_READ: u32 = 0o004;

/// Where tokens come from.
#[derive(Clone, Default)]
pub struct TokenSources {
    /// The list `API_TOKENS`.
    pub api_tokens: String,
    /// The list `ADMIN_TOKENS`.
    pub admin_tokens: String,
    /// The file that `API_TOKENS_FILE` names.
    pub api_tokens_file: Option<PathBuf>,
    /// The file that `ADMIN_TOKENS_FILE` names.
    pub admin_tokens_file: Option<PathBuf>,
    /// Whether people can sign in without these tokens. If they can, no token at all does not mean that every token is
    /// accepted.
    pub has_provider: bool,
}

/// The tokens of a server that starts.
pub struct TokensAtStart {
    /// The tokens, now and later.
    pub live: LiveTokens,
    /// Reads the files while the server runs.
    pub files: TokenFiles,
    /// The first token that the sources have as a plain text.
    pub first: Option<String>,
}

/// The tokens that are accepted at the moment.
#[derive(Debug, Clone)]
pub struct LiveTokens(watch::Receiver<Arc<Tokens>>);

impl LiveTokens {
    /// The current ones.
    #[must_use]
    pub fn get(&self) -> Arc<Tokens> {
        Arc::clone(&self.0.borrow())
    }

    /// Waits until there are others than at the last call.
    pub(super) async fn changed(&mut self) {
        if self.0.changed().await.is_err() {
            // The files are not followed any more.
            std::future::pending::<()>().await;
        }
    }
}

impl TokenSources {
    /// Reads all sources.
    ///
    /// If all are blank and there is no other way to sign in, every token is accepted: only for a loopback address. This
    /// is decided here and never begins later.
    ///
    /// # Errors
    /// The place of the first entry that can't be used, and why.
    pub fn read(&self) -> Result<TokensAtStart, TokenError> {
        let mut first = None;
        let mut sources = vec![];
        let all = [
            (Role::User, "API_TOKENS", &self.api_tokens, "API_TOKENS_FILE", &self.api_tokens_file),
            (Role::Admin, "ADMIN_TOKENS", &self.admin_tokens, "ADMIN_TOKENS_FILE", &self.admin_tokens_file),
        ];
        for (role, list, text, file_list, path) in all {
            let entries = of_list(list, text)?;
            first = first.or_else(|| first_plain(&entries));
            sources.push(Source { role, entries: without_plain(entries), file: None });
            if let Some(path) = path {
                let mut file = TokenFile { list: file_list, path: path.clone(), settled: None, candidate: None };
                let (entries, seen) = file.read_at_start()?;
                first = first.or_else(|| first_plain(&entries));
                file.settled = Some(seen);
                sources.push(Source { role, entries: without_plain(entries), file: Some(file) });
            }
        }
        let when_empty = if self.has_provider { Strangers::Refused } else { Strangers::Welcome };
        let tokens = combined(&sources, when_empty)?;
        let (sender, receiver) = watch::channel(Arc::new(tokens));
        Ok(TokensAtStart { live: LiveTokens(receiver), files: TokenFiles { sources, sender }, first })
    }
}

fn first_plain(entries: &[(Place, Entry)]) -> Option<String> {
    entries.iter().find_map(|(_, entry)| entry.plain.clone())
}

fn without_plain(entries: Vec<(Place, Entry)>) -> Vec<(Place, Entry)> {
    entries.into_iter().map(|(place, entry)| (place, Entry { plain: None, ..entry })).collect()
}

fn combined(sources: &[Source], when_empty: Strangers) -> Result<Tokens, TokenError> {
    Tokens::of(sources.iter().map(|source| (source.role, &source.entries[..])), when_empty)
}

/// The files with tokens, to be followed while the server runs.
pub struct TokenFiles {
    sources: Vec<Source>,
    sender: watch::Sender<Arc<Tokens>>,
}

/// A list or a file, and its last good entries.
struct Source {
    role: Role,
    entries: Vec<(Place, Entry)>,
    file: Option<TokenFile>,
}

/// A file that is read again and again.
struct TokenFile {
    /// The variable that names it.
    list: &'static str,
    path: PathBuf,
    /// What was judged last.
    settled: Option<Seen>,
    /// What was there at the last look, if that was something else.
    candidate: Option<Seen>,
}

/// What a look at a file found: the digest of its content, or why it can't be read.
#[derive(PartialEq, Eq)]
enum Seen {
    Content([u8; 32]),
    Unreadable(String),
}

impl TokenFiles {
    /// Reads the files until `stop`, and makes each whole good set the current one. A bad file leaves its last good
    /// entries valid, and the log says why.
    pub async fn follow(mut self, stop: CancellationToken) {
        let files: Vec<_> = self.sources.iter().filter_map(|source| source.file.as_ref()).collect();
        let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
        while !paths.is_empty() {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(POLL) => {}
            }
            let paths = paths.clone();
            // A file system may hang, and the requests must not.
            let read = tokio::task::spawn_blocking(move || paths.iter().map(|path| read(path)).collect::<Vec<_>>());
            tokio::select! {
                () = stop.cancelled() => return,
                read = read => if let Ok(read) = read { self.look(read) },
            }
        }
    }

    /// Judges what is in the files, in their order.
    fn look(&mut self, read: Vec<Result<Vec<u8>, String>>) {
        let mut has_news = false;
        let files = self.sources.iter_mut().filter_map(|source| source.file.as_mut().map(|f| (f, &mut source.entries)));
        for ((file, entries), content) in files.zip(read) {
            match file.judge(content) {
                None => {}
                Some(Ok(news)) => {
                    *entries = without_plain(news);
                    has_news = true;
                }
                Some(Err(error)) => {
                    tracing::error!(%error, "a token file can't be used: the tokens that it had before stay valid");
                }
            }
        }
        if !has_news {
            return;
        }
        match combined(&self.sources, Strangers::Refused) {
            Ok(tokens) => {
                let before = self.sender.send_replace(Arc::new(tokens.clone()));
                let (added, removed) = (tokens.count_beyond(&before), before.count_beyond(&tokens));
                tracing::info!(tokens = tokens.count(), added, removed, "the token files were read again");
            }
            Err(error) => {
                tracing::error!(%error, "the token files can't be used together: the tokens before the change stay valid");
            }
        }
    }
}

impl TokenFile {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn refuse(&self, reason: String) -> TokenError {
        TokenError::File { list: self.list, file: self.name(), reason }
    }

    fn read_at_start(&self) -> Result<(Vec<(Place, Entry)>, Seen), TokenError> {
        let bytes = read(&self.path).map_err(|reason| self.refuse(reason))?;
        let entries = of_file(self.list, &self.name(), &bytes)?;
        let is_open = fs::metadata(&self.path).is_ok_and(|file| file.permissions().mode() & OTHERS_READ != 0);
        if is_open && entries.iter().any(|(_, entry)| entry.plain.is_some()) {
            tracing::warn!(
                "{}: every user of this machine can read the tokens in {}: chmod o-r, or put hashes into it, which \
                 `leadersboard token new` prints",
                self.list,
                self.name()
            );
        }
        Ok((entries, seen(&bytes)))
    }

    /// Returns the entries of a content, or why it can't be used; `None` if it is not new, or not settled yet.
    fn judge(&mut self, content: Result<Vec<u8>, String>) -> Option<Result<Vec<(Place, Entry)>, TokenError>> {
        let now = match &content {
            Ok(bytes) => seen(bytes),
            Err(reason) => Seen::Unreadable(reason.clone()),
        };
        if self.settled.as_ref() == Some(&now) {
            self.candidate = None;
            return None;
        }
        if self.candidate.as_ref() != Some(&now) {
            self.candidate = Some(now);
            return None;
        }
        self.settled = self.candidate.take();
        Some(content.map_err(|reason| self.refuse(reason)).and_then(|bytes| of_file(self.list, &self.name(), &bytes)))
    }
}

fn seen(bytes: &[u8]) -> Seen {
    Seen::Content(Sha256::digest(bytes).into())
}

/// Reads a file, to one byte beyond the largest size.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let unreadable = |error: std::io::Error| format!("the file can't be read: {error}");
    let metadata = fs::metadata(path).map_err(unreadable)?;
    // To open a pipe would wait for its writer.
    if !metadata.is_file() {
        return Err("it is not a regular file".to_owned());
    }
    if metadata.permissions().mode() & OTHERS_WRITE != 0 {
        return Err("every user of this machine can write to the file and so make tokens: chmod o-w".to_owned());
    }
    let mut bytes = vec![];
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_FILE_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
