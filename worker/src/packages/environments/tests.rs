use super::*;

struct Site {
    root: tempfile::TempDir,
    environments: Environments,
}

impl Site {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let environments = Environments::of(root.path()).unwrap();
        Self { root, environments }
    }

    fn vacancy(&self, digest: &str) -> Vacancy {
        match self.environments.look(digest).unwrap() {
            Place::Vacant(vacancy) => vacancy,
            other => panic!("{other:?}"),
        }
    }

    fn build(&self, digest: &str, used_at_s: i64) {
        let built = self.root.path().join("built");
        fs::create_dir_all(built.join("lib")).unwrap();
        fs::write(built.join("lib/module.py"), "").unwrap();
        self.vacancy(digest).fill(&built).unwrap();
        let file = File::open(self.environments.folder.join(digest).with_extension(LOCK)).unwrap();
        let used = Timespec { tv_sec: used_at_s, tv_nsec: 0 };
        futimens(&file, &Timestamps { last_access: used, last_modification: used }).unwrap();
    }

    fn ready(&self, digest: &str) -> Option<Environment> {
        match self.environments.look(digest).unwrap() {
            Place::Ready(environment) => Some(environment),
            Place::Vacant(_) | Place::Busy => None,
        }
    }
}

#[test]
fn one_builds_while_all_others_wait_and_many_use_it() {
    let site = Site::new();
    let vacancy = site.vacancy("a");
    assert!(matches!(site.environments.look("a").unwrap(), Place::Busy));
    vacancy.give_up();
    assert_eq!(fs::read_dir(&site.environments.folder).unwrap().count(), 0);
    site.build("a", 1);
    let users = [site.ready("a").unwrap(), site.ready("a").unwrap()];
    let module = users[0].path().join("lib/module.py");
    assert_eq!(fs::metadata(module).unwrap().mode() & 0o777, 0o444);
}

#[test]
fn those_that_were_not_used_for_longest_go_unless_they_are_in_use() {
    let site = Site::new();
    for number in 0..KEPT + 3 {
        site.build(&number.to_string(), i64::try_from(number).unwrap());
    }
    let in_use = site.ready("0").unwrap();
    let file = File::open(site.environments.folder.join("0.lock")).unwrap();
    let long_ago = Timespec { tv_sec: 0, tv_nsec: 0 };
    futimens(&file, &Timestamps { last_access: long_ago, last_modification: long_ago }).unwrap();
    // What a worker that died has left.
    fs::write(site.environments.folder.join("dead.lock"), "").unwrap();
    site.environments.prune(site.root.path(), KEPT).unwrap();
    let left = fs::read_dir(&site.environments.folder).unwrap().count();
    assert_eq!(left, 2 * KEPT, "each with its lock");
    assert!(in_use.path().join("lib/module.py").exists());
    let gone = |digest: &str| !site.environments.folder.join(digest).exists();
    assert!(["1", "2", "3"].into_iter().all(gone) && !gone("4"));
}

#[test]
fn a_link_is_left_alone_and_what_is_no_file_is_refused() {
    let site = Site::new();
    let outside = site.root.path().join("outside");
    fs::write(&outside, "").unwrap();
    fs::set_permissions(&outside, Permissions::from_mode(0o640)).unwrap();
    let built = site.root.path().join("built");
    fs::create_dir(&built).unwrap();
    std::os::unix::fs::symlink(&outside, built.join("link")).unwrap();
    site.vacancy("a").fill(&built).unwrap();
    assert_eq!(fs::metadata(&outside).unwrap().mode() & 0o777, 0o640);
    fs::create_dir(&built).unwrap();
    nix::unistd::mkfifo(&built.join("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(site.vacancy("b").fill(&built).unwrap_err().to_string().contains("neither"));
}
