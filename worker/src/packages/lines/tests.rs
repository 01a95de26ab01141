use super::*;

fn file(content: &str) -> String {
    Lines::parse(content.as_bytes()).unwrap().file()
}

fn refused(content: &[u8]) -> String {
    Lines::parse(content).expect_err(&String::from_utf8_lossy(content))
}

#[test]
fn what_asks_for_the_same_is_the_same() {
    let one = "\u{feff}# ours\r\nNumPy >= 1.26 , <3   # fast\r\n\r\nscikit_learn[Tests,alldeps]==1.7.*\n";
    let other = "scikit-learn [alldeps, tests] == 1.7.*\nnumpy>=1.26,<3\nnumpy >=1.26,<3";
    assert_eq!(file(one), file(other));
    assert_eq!(file(one), "numpy>=1.26,<3\nscikit-learn[alldeps,tests]==1.7.*\n");
    assert!(Lines::parse(b"# nothing\n\n  \n").unwrap().is_empty());
}

#[test]
fn markers_and_hashes_stay() {
    let (a, b) = ("a".repeat(64), "B".repeat(64));
    let content = format!(
        "torch==2.9.0+cu128 ; python_version >= '3.10' and sys_platform == \"linux\" \\\n  --hash=sha256:{b} \\\n  \
         --hash=sha256:{a}\n  # via us\ntyping.extensions\n"
    );
    let wanted = format!(
        "torch==2.9.0+cu128 ; python_version >= '3.10' and sys_platform == \"linux\" --hash=sha256:{a} \
         --hash=sha256:{}\ntyping-extensions\n",
        b.to_lowercase()
    );
    assert_eq!(file(&content), wanted);
}

#[test]
fn nothing_but_packages_of_the_index_is_taken() {
    for line in [
        "-r more.txt",
        "-e .",
        "-i https://evil.example/simple",
        "--index-url https://evil.example/simple",
        "--extra-index-url=https://evil.example/simple",
        "--find-links /etc",
        "-c constraints.txt",
        "--no-binary :all:",
        "https://evil.example/a-1-py3-none-any.whl",
        "git+https://evil.example/a.git",
        "a @ https://evil.example/a.whl",
        "a@file:///etc/passwd",
        "file:///etc/passwd",
        "./a",
        ".",
        "..",
        "/etc/passwd",
        "sub/a.whl",
        "C:\\a.whl",
        "a[x] @ https://evil.example/a.whl ; python_version > '3'",
        "a==1 --index-url https://evil.example/simple",
        "a==1 --index-url=https://evil.example/simple",
        "a==1 --hash=md5:0123",
        "a==1 --hash=sha256:0123",
        "a==1 -r",
        "a==1 --config-settings=x",
        "${HOME}",
        "a==${HOME}",
        "a==https://evil.example",
        "a ; python_version > '3' @ https://evil.example",
        "a ; python_version > '3' --index-url https://evil.example",
        "a ;",
        "a b",
        "a==",
        "a=1",
        "a[",
        "a[]",
        "a[x",
        "a(==1)",
        "_a",
        "a\0b",
        "a\u{b}b",
        "naïve",
        "a==1\\",
        "\\\n-r more.txt",
        "a \\\n --index-url https://evil.example/simple",
        "a # no comment\u{2028}-r x \\\n @ https://evil.example",
    ] {
        let content = format!("first\n{line}\n");
        match Lines::parse(content.as_bytes()) {
            Err(sentence) => assert!(sentence.starts_with("line 2 "), "{line:?}: {sentence}"),
            // What a comment or an end of line makes harmless.
            Ok(lines) => {
                let file = lines.file();
                assert!(!file.contains([':', '@', '/', '\\', '$']) && !file.contains(" -"), "{line:?}: {file}");
            }
        }
    }
}

#[test]
fn a_name_never_looks_like_a_file() {
    assert_eq!(file("evil-1.0-py3-none-any.whl\nevil.tar.gz\n"), "evil-1-0-py3-none-any-whl\nevil-tar-gz\n");
}

#[test]
fn a_file_has_its_limits() {
    assert!(refused(b"a\n\xff\n").contains("UTF-8"));
    assert!(refused("a\n".repeat(501).as_bytes()).contains("500 lines"));
    assert_eq!(file(&"a\n".repeat(500)), "a\n");
    let sentence = refused(b"a\n# b\nc \\\n\\\n==1\n-r x\n");
    assert!(sentence.starts_with("line 6 is an option"), "{sentence}");
}
