use std::os::unix::fs::symlink;

use super::*;

/// A folder of a test's own.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("lb-tokens-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn file(&self) -> PathBuf {
        self.0.join("tokens")
    }

    fn write(&self, content: &[u8]) {
        fs::write(self.file(), content).unwrap();
    }

    fn sources(&self) -> TokenSources {
        TokenSources { api_tokens: "env:from-env".to_owned(), api_tokens_file: Some(self.file()), ..Default::default() }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Looks at the files as `follow` does, once.
fn look(files: &mut TokenFiles) {
    let paths = files.sources.iter().filter_map(|source| source.file.as_ref()).map(|file| file.path.clone());
    let read = paths.map(|path| read(&path)).collect();
    files.look(read);
}

/// Whose of these tokens are accepted.
fn known(live: &LiveTokens, tokens: &[&str]) -> String {
    let name = |token: &&str| live.get().user_of(token).map_or_else(|| "-".to_owned(), |(user, _)| user.to_string());
    tokens.iter().map(name).collect::<Vec<_>>().join(" ")
}

const ALL: [&str; 4] = ["from-env", "one", "two", "three"];

#[test]
fn a_change_counts_when_it_was_seen_twice() {
    let folder = Folder::new("change");
    folder.write(b"alice:one\n");
    let TokensAtStart { live, mut files, first } = folder.sources().read().unwrap();
    assert_eq!((known(&live, &ALL).as_str(), first.as_deref()), ("env alice - -", Some("from-env")));
    // Half of "bob:two" would be another token.
    folder.write(b"alice:one\nbob:t");
    look(&mut files);
    folder.write(b"alice:one\nbob:two\n");
    look(&mut files);
    assert_eq!(known(&live, &["t", "two"]), "- -");
    look(&mut files);
    assert_eq!(known(&live, &ALL), "env alice bob -");
    // A rename over it, and then a link that is swapped, as Kubernetes does.
    fs::write(folder.0.join("next"), b"carol:three\n").unwrap();
    fs::rename(folder.0.join("next"), folder.file()).unwrap();
    look(&mut files);
    look(&mut files);
    assert_eq!(known(&live, &ALL), "env - - carol");
    fs::write(folder.0.join("data"), b"dave:two\n").unwrap();
    symlink("data", folder.0.join("link")).unwrap();
    fs::rename(folder.0.join("link"), folder.file()).unwrap();
    look(&mut files);
    look(&mut files);
    assert_eq!(known(&live, &ALL), "env - dave -");
}

#[test]
fn a_bad_file_keeps_its_last_good_tokens() {
    let folder = Folder::new("bad");
    folder.write(b"alice:one\n");
    let TokensAtStart { live, mut files, .. } = folder.sources().read().unwrap();
    let bad: [&dyn Fn(); 8] = [
        &|| folder.write(b""),
        &|| folder.write(b"# nothing\n"),
        &|| folder.write(b"alice:two\n:broken\n"),
        &|| folder.write(b"alice:two\n\xff\n"),
        &|| folder.write(&vec![b'#'; MAX_FILE_BYTES + 1]),
        // The token of the list.
        &|| folder.write(b"alice:from-env\nbob:two\n"),
        &|| fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o666)).unwrap(),
        &|| fs::remove_file(folder.file()).unwrap(),
    ];
    for (number, break_it) in bad.iter().enumerate() {
        break_it();
        for _ in 0..3 {
            look(&mut files);
            assert_eq!(known(&live, &ALL), "env alice - -", "{number}");
            assert!(!live.get().takes_any());
        }
    }
    folder.write(b"bob:two\n");
    fs::set_permissions(folder.file(), fs::Permissions::from_mode(0o600)).unwrap();
    look(&mut files);
    look(&mut files);
    assert_eq!(known(&live, &ALL), "env - bob -");
}

#[test]
fn a_bad_file_does_not_keep_another_from_changing() {
    let (users, admins) = (Folder::new("users"), Folder::new("admins"));
    users.write(b"alice:one\n");
    admins.write(b"root:two\n");
    let sources = TokenSources { admin_tokens_file: Some(admins.file()), ..users.sources() };
    let TokensAtStart { live, mut files, .. } = sources.read().unwrap();
    users.write(b"");
    admins.write(b"root:three\n");
    look(&mut files);
    look(&mut files);
    assert_eq!(known(&live, &ALL), "env alice - root");
    // A user becomes an admin: between the two writes both files name the token, and the last good set stays.
    users.write(b"bob:two\n");
    admins.write(b"root:three\nalice:one\n");
    look(&mut files);
    look(&mut files);
    assert_eq!(live.get().user_of("one"), Some(("alice".parse().unwrap(), Role::Admin)));
}

#[test]
fn a_bad_file_refuses_the_start() {
    let folder = Folder::new("start");
    let refusal = || folder.sources().read().err().map(|error| error.to_string()).unwrap();
    assert!(refusal().contains("tokens: the file can't be read: No such file"), "{}", refusal());
    folder.write(b"\n");
    assert!(refusal().contains("the file has no token"), "{}", refusal());
    folder.write(b"alice:one\nbob:from-env");
    assert!(refusal().ends_with("line 2: this token was given to somebody already"), "{}", refusal());
    fs::remove_file(folder.file()).unwrap();
    fs::create_dir(folder.file()).unwrap();
    assert!(refusal().contains("it is not a regular file"), "{}", refusal());
}

#[test]
fn every_token_is_accepted_only_where_there_is_no_other_way() {
    let open = |sources: TokenSources| sources.read().unwrap().live.get().takes_any();
    assert!(open(TokenSources::default()));
    assert!(!open(TokenSources { has_provider: true, ..Default::default() }));
    assert!(!open(TokenSources { admin_tokens: "root:one".to_owned(), ..Default::default() }));
}

#[tokio::test(start_paused = true)]
async fn the_files_are_followed_until_the_end() {
    let folder = Folder::new("follow");
    folder.write(b"alice:one\n");
    let TokensAtStart { mut live, files, .. } = folder.sources().read().unwrap();
    let stop = CancellationToken::new();
    let following = tokio::spawn(files.follow(stop.clone()));
    folder.write(b"bob:two\n");
    live.changed().await;
    assert_eq!(known(&live, &ALL), "env - bob -");
    stop.cancel();
    following.await.unwrap();
}
