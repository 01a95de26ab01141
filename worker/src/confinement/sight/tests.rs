use std::os::unix::fs::symlink;

use events::ports::DiskReserve;
use tempfile::TempDir;

use super::*;
use crate::confinement::{Level, Network, Reach};

/// A machine with a data directory `board`, and an interpreter that imports from these folders of it.
struct Machine {
    root: TempDir,
    board: &'static str,
    imports: Imports,
}

impl Machine {
    fn with(folders: &[&str]) -> Self {
        Self::with_board("board", folders)
    }

    fn with_board(board: &'static str, folders: &[&str]) -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join(board).join("work")).unwrap();
        for folder in folders {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        Self { root, board, imports: Imports::default() }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.path().canonicalize().unwrap().join(path)
    }

    /// What jobs see of it beside the system.
    fn sight(&self) -> Result<Sight, SandboxError> {
        let options = SandboxOptions {
            level: Level::Standard,
            network: Network::None,
            data: vec![],
            home: Some(self.at("home")),
            secrets: vec![self.at(self.board)],
            disk_reserve: DiskReserve::of_bytes(0),
            reach: Reach::Full,
        };
        let (path, version, imports) = ("/usr/bin/python3".into(), "3.11.7".to_owned(), self.imports.clone());
        let python = Python { path, version, folders: vec!["/usr".into()], imports };
        let mut sight = Sight::of(&options, &python, &self.at(self.board).join("work"))?;
        sight.readable.retain(|path| path.starts_with(self.at("")));
        Ok(sight)
    }
}

fn unseen(sight: &Sight) -> Vec<&Path> {
    sight.unseen.iter().map(|one| one.path.as_path()).collect()
}

#[test]
fn what_packages_lie_in_is_readable_and_what_is_hidden_beside_them_is_not() {
    let mut machine = Machine::with(&["src/package", "project/.git", "project/package", "cache/wheel"]);
    fs::write(machine.at("project/.env"), "secret").unwrap();
    fs::write(machine.at("project/credentials.json"), "secret").unwrap();
    fs::write(machine.at("project/module.py"), "").unwrap();
    machine.imports.path = vec![machine.at("src"), machine.at("project")];
    machine.imports.whole = vec![machine.at("cache/wheel"), machine.at("project/package"), machine.at("src/package")];
    let mut sight = machine.sight().unwrap();
    sight.readable.sort();
    let seen = ["cache/wheel", "project/module.py", "project/package", "src"].map(|path| machine.at(path));
    assert_eq!(sight.readable, seen);
    assert_eq!(sight.listed, [Listed { path: machine.at("project"), holds_secret: false }]);
    assert_eq!(unseen(&sight), Vec::<&Path>::new());
}

#[test]
fn the_data_directory_in_a_project_stays_out_of_sight() {
    let mut machine = Machine::with_board("project/data", &["project/package"]);
    machine.imports.path = vec![machine.at("project")];
    let sight = machine.sight().unwrap();
    assert_eq!(sight.readable, [machine.at("project/package")]);
    assert_eq!(sight.listed.iter().map(|folder| folder.holds_secret).collect::<Vec<_>>(), [true]);
    assert_eq!(unseen(&sight), Vec::<&Path>::new(), "what is the platform's is missed by nobody");
}

#[test]
fn nothing_that_is_too_wide_or_secret_is_shown_whichever_way_it_is_reached() {
    let mut machine = Machine::with(&["home/project", "links", "board/pkgs"]);
    symlink(machine.at("board"), machine.at("links/board")).unwrap();
    symlink(machine.at("home"), machine.at("links/home")).unwrap();
    symlink("/", machine.at("links/all")).unwrap();
    let forbidden = [
        machine.at("board"),
        machine.at("board/pkgs"),
        machine.at("home"),
        machine.at("links/board"),
        machine.at("links/home"),
        machine.at("links/all"),
        "/".into(),
        "/etc/ssh".into(),
        "/home/somebody".into(),
        "/tmp".into(),
        "/var/lib".into(),
    ];
    machine.imports.whole = forbidden.to_vec();
    let sight = machine.sight().unwrap();
    assert_eq!((sight.readable.as_slice(), sight.listed.as_slice()), (&[][..], &[][..]));
    assert_eq!(unseen(&sight), forbidden.iter().map(PathBuf::as_path).collect::<Vec<_>>());

    // A folder of packages with such links in it shows none of them.
    machine.imports = Imports { path: vec![machine.at("links")], ..Imports::default() };
    let sight = machine.sight().unwrap();
    assert_eq!(sight.readable, Vec::<PathBuf>::new());
    assert_eq!(unseen(&sight).len(), 3, "{:?}", sight.unseen);

    machine.imports = Imports { path: forbidden[..3].to_vec(), ..Imports::default() };
    assert_eq!(machine.sight().unwrap().readable, Vec::<PathBuf>::new());
    machine.imports = Imports { whole: vec![machine.at("home/project")], ..Imports::default() };
    assert_eq!(machine.sight().unwrap().readable, [machine.at("home/project")], "a project in a home is none");
}

#[test]
fn more_places_than_a_run_can_have_are_told() {
    let mut machine = Machine::with(&[]);
    machine.imports.whole = (0..MOST_PLACES + 5).map(|number| machine.at(&format!("wheel-{number}"))).collect();
    machine.imports.of_user = Some(machine.at("home/.local"));
    let sight = machine.sight().unwrap();
    assert_eq!((sight.readable.len(), sight.unseen.len()), (MOST_PLACES, 2));
}
