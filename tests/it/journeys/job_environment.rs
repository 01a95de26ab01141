//! What a job finds beside its own files: what its interpreter imports, variables, data and caches.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use leadersboard_tests::board::{ALICE, Board, Finished, command};
use leadersboard_tests::client::Client;
use serde_json::Value;

use super::{INSTANT, all_is_well};

fn write(path: PathBuf, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
    fs::write(path, text).expect("a file");
}

/// A virtual environment that imports from all over `root`.
fn environment(root: &Path) -> PathBuf {
    let venv = root.join("venv");
    let script = "import sys, venv; venv.create(sys.argv[1], with_pip=False)";
    let made = Command::new("/usr/bin/python3").args(["-c", script]).arg(&venv).status().expect("Python runs");
    assert!(made.success());
    let packages = fs::read_dir(venv.join("lib")).expect("it is there").flatten().next().expect("one").path();
    let packages = packages.join("site-packages");
    for file in ["src/in_src.py", "project/in_project/__init__.py", "mapped/mapped/__init__.py", "real/chained.py"] {
        write(root.join(file), "");
    }
    write(root.join("project/.env"), "a-secret-of-the-project");
    write(root.join("project/credentials.json"), "a-secret-of-the-project");
    write(root.join("cache/wheel/linked/__init__.py"), "from linked.deep import here");
    write(root.join("cache/wheel/linked/deep.py"), "here = 1");
    write(root.join("cache/wheel/linked-1.dist-info/METADATA"), "Name: linked\nVersion: 1\n");
    let shown = root.display();
    write(packages.join("paths.pth"), &format!("{shown}/src\n{shown}/project\n"));
    write(packages.join("__editable__.mapped.pth"), "import __editable___finder as f; f.install()\n");
    let finder = format!(
        "import importlib.util, sys\nMAPPING = {{'mapped': '{shown}/mapped/mapped'}}\nclass Finder:\n    \
         @staticmethod\n    def find_spec(name, path=None, target=None):\n        folder = MAPPING.get(name)\n        \
         return folder and importlib.util.spec_from_file_location(name, folder + '/__init__.py')\n\
         def install(): sys.meta_path.append(Finder)\n"
    );
    write(packages.join("__editable___finder.py"), &finder);
    for file in ["linked/__init__.py", "linked/deep.py", "linked-1.dist-info/METADATA"] {
        fs::create_dir_all(packages.join(file).parent().expect("a folder")).expect("a folder");
        symlink(root.join("cache/wheel").join(file), packages.join(file)).expect("a link");
    }
    symlink(root.join("real/chained.py"), root.join("hop.py")).expect("a link");
    symlink(root.join("hop.py"), packages.join("chained.py")).expect("a link");
    venv.join("bin/python")
}

#[tokio::test]
async fn a_job_imports_what_its_interpreter_imports_and_sees_no_more_of_it() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let root = folder.path().canonicalize().expect("it is there");
    let python = environment(&root).display().to_string();
    let board = Board::start(&[("JOB_PYTHON", &python)]).await;
    let alice = Client::new(board.server(), ALICE);
    let program = format!(
        "import in_src, in_project, mapped, linked, chained, importlib.metadata, os\n\
         assert importlib.metadata.version('linked') == '1'\n\
         for path in ['project/.env', 'project/credentials.json', 'cache/other', 'secret']:\n    \
         assert not os.path.exists('{}/' + path), path\n{INSTANT}",
        root.display()
    );
    for path in ["cache/other", "secret"] {
        write(root.join(path), "a secret");
    }
    let job = alice.run(&program).await;
    alice.wait_for(&job, "completed").await;
    let doctor = board.run_alike(["doctor", "--json"]);
    let rows = doctor.json();
    let imports: Vec<&Value> = rows.as_array().expect("rows").iter().filter(|row| row["name"] == "imports").collect();
    assert_eq!(imports.len(), 1, "{rows:#}");
    assert_eq!(imports[0]["verdict"], "good", "{rows:#}");
    all_is_well(&board).await;
}

#[tokio::test]
async fn what_a_job_cannot_import_is_told_at_the_start_and_by_the_doctor() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let root = folder.path().canonicalize().expect("it is there");
    let python = environment(&root);
    let packages = fs::read_dir(root.join("venv/lib")).expect("it is there").flatten().next().expect("one").path();
    write(packages.join("site-packages/wide.pth"), "/var\n");
    // A source folder with a link to a module elsewhere, and a package with one that leads further.
    write(packages.join("site-packages/own.pth"), &format!("{}\n", root.join("project/src").display()));
    write(root.join("project/src/own/__init__.py"), "");
    write(root.join("third/linked.py"), "");
    write(root.join("third/part/__init__.py"), "");
    symlink(root.join("third/linked.py"), root.join("project/src/linked.py")).expect("a link");
    symlink(root.join("third/part"), root.join("project/src/own/part")).expect("a link");
    let board = Board::start(&[("JOB_PYTHON", &python.display().to_string())]).await;
    assert!(board.log().contains("jobs can't read this") && board.log().contains("path=/var"), "{}", board.log());
    let doctor = board.run_alike(["doctor"]);
    assert!(doctor.code == Some(0) && doctor.stdout.contains("it holds more than packages"), "{doctor:?}");
    let further = format!("it leads to {}", root.join("third/part").display());
    assert!(doctor.stdout.contains(&further) && board.log().contains(&further), "{doctor:?}");
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run(&format!("import linked, os, own\nassert not os.path.exists('/var/lib')\n{INSTANT}")).await;
    alice.wait_for(&job, "completed").await;
}

#[tokio::test]
async fn a_job_has_the_variables_and_the_caches_that_its_operator_gives_it() {
    let cache = tempfile::tempdir().expect("a temporary directory");
    let root = cache.path().canonicalize().expect("it is there").display().to_string();
    write(cache.path().join("torch/weights.bin"), "weights");
    let list = format!("PASSED,TORCH_HOME={root}/torch, GIVEN=a=b");
    let options = [("CACHE_ROOT", root.as_str()), ("JOB_ENV", &list), ("PASSED", "one,two"), ("NOT_PASSED", "x")];
    let board = Board::start(&options).await;
    let alice = Client::new(board.server(), ALICE);
    let program = format!(
        "import os\nassert open(os.environ['TORCH_HOME'] + '/weights.bin').read() == 'weights'\n\
         assert os.environ['CACHE_ROOT'] == '{root}' and os.path.isdir(os.environ['DATASET_ROOT'])\n\
         assert os.environ['PASSED'] == 'one,two' and os.environ['GIVEN'] == 'a=b'\n\
         assert 'NOT_PASSED' not in os.environ and 'JOB_ENV' not in os.environ\n\
         try: open(os.environ['CACHE_ROOT'] + '/new', 'w')\nexcept OSError: pass\nelse: raise SystemExit('written')\n\
         {INSTANT}"
    );
    let job = alice.run(&program).await;
    alice.wait_for(&job, "completed").await;
    assert!(!board.log().contains("one,two"), "{}", board.log());
    all_is_well(&board).await;
}

#[test]
fn no_secret_of_the_platform_is_given_to_jobs_and_no_value_is_told() {
    let data = tempfile::tempdir().expect("a temporary directory");
    for (list, word) in [
        ("API_TOKENS", "secret of the platform"),
        ("MLFLOW_TRACKING_TOKEN=s3cret", "secret of the platform"),
        ("HOME=/s3cret", "sets itself"),
        ("A=s3cret,s3cret", "entry 2 of JOB_ENV"),
    ] {
        let output = command(data.path()).args(["up", "--listen", "127.0.0.1:0"]).env("JOB_ENV", list).output();
        let finished = Finished::of(output.expect("the binary runs"));
        assert!(finished.code == Some(2) && finished.stderr.contains(word), "{list}: {finished:?}");
        assert!(!finished.stderr.contains("s3cret"), "{finished:?}");
    }
}

#[test]
fn a_folder_for_jobs_that_cannot_be_used_is_named_and_a_start_that_it_refuses_removes_nothing() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let root = folder.path().canonicalize().expect("it is there");
    let file = root.join("file");
    fs::write(&file, "x").expect("a file");
    let kept = root.join("kept");
    fs::create_dir(&kept).expect("a folder");
    fs::write(kept.join("thesis.txt"), "precious").expect("a file");
    let text = |path: &Path| path.display().to_string();
    for (name, value, word) in [
        ("CACHE_ROOT", text(&file), "is not a folder"),
        ("DATASET_ROOT", text(&file), "is not a folder"),
        ("CACHE_ROOT", "/nowhere".to_owned(), "No such file"),
        ("CACHE_ROOT", text(&root), "which jobs can read"),
    ] {
        for data in [root.join("new/data"), kept.clone(), root.join("missing/../kept")] {
            let output = command(&data).args(["up", "--listen", "127.0.0.1:0"]).env(name, &value).output();
            let finished = Finished::of(output.expect("the binary runs"));
            assert!(finished.code == Some(1) && finished.stderr.contains(name), "{value}: {finished:?}");
            assert!(finished.stderr.contains(word), "{value}: {finished:?}");
        }
        assert_eq!(fs::read_to_string(kept.join("thesis.txt")).ok().as_deref(), Some("precious"), "{value}");
    }
}

#[tokio::test]
async fn a_job_that_wants_a_network_is_told_that_there_is_none() {
    let board = Board::start(&[]).await;
    let alice = Client::new(board.server(), ALICE);
    let job = alice.run("import urllib.request\nurllib.request.urlopen('https://example.org/weights.bin')\n").await;
    let shown = alice.wait_for(&job, "failed").await;
    assert_eq!(shown["failure"]["kind"], "nonzero_exit");
    assert!(shown["error"].as_str().is_some_and(|error| error.contains("jobs here have no network")), "{shown:#}");
    all_is_well(&board).await;
}
