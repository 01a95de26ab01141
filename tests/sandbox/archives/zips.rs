//! Traps of the form `.zip`, written by hand: no library would.

use flate2::{Compress, Compression, Crc, FlushCompress};

use super::trap::{Fate, Trap, gzip};

const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// One entry, as its header and the directory tell of it.
#[derive(Clone)]
struct Entry {
    name: Vec<u8>,
    /// The name before the content, where it is another.
    local_name: Option<Vec<u8>>,
    method: u16,
    flags: u16,
    mode: u32,
    content: Vec<u8>,
    /// The size once inflated.
    size: u32,
    crc: u32,
}

fn file(name: &[u8], content: &[u8]) -> Entry {
    let mut crc = Crc::new();
    crc.update(content);
    let size = u32::try_from(content.len()).expect("it is small");
    Entry {
        name: name.to_vec(),
        local_name: None,
        method: STORED,
        flags: 0,
        mode: 0o100_644,
        content: content.to_vec(),
        size,
        crc: crc.sum(),
    }
}

/// What inflates to so many MiB of zeros, and says that it has `size` bytes.
fn zeros(mib: usize, size: u32) -> Entry {
    let zeros = vec![0; 1 << 20];
    let mut deflate = Compress::new(Compression::best(), false);
    let mut block = Vec::with_capacity(64 << 10);
    deflate.compress_vec(&zeros, &mut block, FlushCompress::Full).expect("memory");
    // An empty last block.
    let content = [block.repeat(mib), vec![3, 0]].concat();
    let mut crc = Crc::new();
    (0..mib).for_each(|_| crc.update(&zeros));
    Entry { method: DEFLATED, content, size, crc: crc.sum(), ..file(b"zeros", b"") }
}

impl Entry {
    fn sizes(&self) -> Vec<u8> {
        let packed = u32::try_from(self.content.len()).expect("it is small");
        [self.crc.to_le_bytes(), packed.to_le_bytes(), self.size.to_le_bytes()].concat()
    }

    fn local(&self) -> Vec<u8> {
        let name = self.local_name.as_ref().unwrap_or(&self.name);
        let head = [&b"PK\x03\x04"[..], &20_u16.to_le_bytes(), &self.flags.to_le_bytes(), &self.method.to_le_bytes()];
        [&head.concat(), &[0; 4][..], &self.sizes(), &length(name), &[0; 2], name, &self.content].concat()
    }

    fn central(&self, at: usize) -> Vec<u8> {
        let made_by_unix = [20, 3];
        let head = [&b"PK\x01\x02"[..], &made_by_unix, &20_u16.to_le_bytes(), &self.flags.to_le_bytes()];
        let attributes = (self.mode << 16).to_le_bytes();
        let at = u32::try_from(at).expect("it is small").to_le_bytes();
        let head =
            [&head.concat(), &self.method.to_le_bytes()[..], &[0; 4], &self.sizes(), &length(&self.name)].concat();
        [&head, &[0; 8][..], &attributes, &at, &self.name].concat()
    }
}

fn length(name: &[u8]) -> [u8; 2] {
    u16::try_from(name.len()).expect("it is short").to_le_bytes()
}

/// The end of an archive whose directory is so large and says that it has so many entries.
fn end(entries: usize, directory: usize, at: usize) -> Vec<u8> {
    let entries = u16::try_from(entries).unwrap_or(u16::MAX).to_le_bytes();
    let [directory, at] = [directory, at].map(|number| u32::try_from(number).expect("it is small").to_le_bytes());
    [&b"PK\x05\x06\0\0\0\0"[..], &entries, &entries, &directory, &at, &[0; 2]].concat()
}

fn archive(entries: &[Entry]) -> Vec<u8> {
    counted(entries, entries.len())
}

/// An archive that says it has so many entries.
fn counted(entries: &[Entry], count: usize) -> Vec<u8> {
    let (mut body, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        directory.extend(entry.central(body.len()));
        body.extend(entry.local());
    }
    let end = end(count, directory.len(), body.len());
    [body, directory, end].concat()
}

/// Many entries, all of which are the same bytes.
fn overlapping(count: usize) -> Vec<u8> {
    let entry = zeros(1, 1 << 20);
    let body = entry.local();
    let directory: Vec<u8> = (0..count)
        .flat_map(|number| Entry { name: format!("zeros-{number}").into_bytes(), ..entry.clone() }.central(0))
        .collect();
    [&body[..], &directory, &end(count, directory.len(), body.len())].concat()
}

/// One that is as it should be.
pub(super) fn harmless() -> Vec<u8> {
    archive(&[file(b"a", b"x")])
}

/// One that is as it should be, with a comment behind its end.
fn commented(comment: &[u8]) -> Vec<u8> {
    let mut whole = harmless();
    let at = whole.len() - 2;
    whole[at..].copy_from_slice(&length(comment));
    [&whole, comment].concat()
}

pub(super) fn traps() -> Vec<Trap> {
    use Fate::{Harmless, Refused};
    let whole = archive(&[file(b"a", &[7; 4000])]);
    let half = whole[..whole.len() / 2].to_vec();
    let cut = whole[whole.len() / 2..].to_vec();
    let one = |entry: Entry| archive(&[entry]);
    let named = |name: &[u8]| one(file(name, b"x"));
    let of_mode = |mode: u32| one(Entry { mode, ..file(b"planted", b"/etc/passwd") });
    let many = |count: usize| -> Vec<Entry> { (0..count).map(|n| file(format!("f{n}").as_bytes(), b"")).collect() };
    let twofold = Entry { local_name: Some(b"../planted".to_vec()), ..file(b"a", b"x") };
    let traps: Vec<(&str, Fate, Vec<u8>)> = vec![
        ("as it should be", Harmless(&["a"]), harmless()),
        ("a symbolic link", Refused("symbolic link"), of_mode(0o120_777)),
        ("a fifo", Refused("fifo"), of_mode(0o010_644)),
        ("a device", Refused("device"), of_mode(0o020_644)),
        ("a name above", Refused(".."), named(b"../planted")),
        ("a name above in the middle", Refused(".."), named(b"a/../../planted")),
        ("an absolute name", Refused("absolute"), named(b"/tmp/planted")),
        ("a drive's name", Refused("absolute"), named(b"C:\\planted")),
        ("a NUL", Refused("control character"), named(b"planted\0.py")),
        ("a name that is not UTF-8", Harmless(&["planted \u{fe}"]), named(b"planted \xfe")),
        ("a depth of 2,000", Refused("longer than"), named(("d/".repeat(2000) + "planted").as_bytes())),
        ("100,000 entries", Refused("trap.zip"), counted(&many(2), 100_000)),
        ("20,000 entries", Refused("entries"), archive(&many(20_000))),
        ("20,000 entries that it says are two", Harmless(&["f0", "f1"]), counted(&many(20_000), 2)),
        ("two entries of one name", Refused(""), archive(&[file(b"a", b"1"), file(b"a", b"2")])),
        (
            "two entries of one name, written otherwise",
            Refused("twice"),
            archive(&[file(b"a", b"1"), file(b"./a", b"2")]),
        ),
        ("a file, and a file in it", Refused("both"), archive(&[file(b"a", b"1"), file(b"a/b", b"2")])),
        ("a file in the place of the program", Refused("main.py"), named(b"main.py")),
        ("a bomb", Refused("bomb"), one(zeros(200, 200 << 20))),
        ("a bomb that says it is small", Refused("damaged"), one(zeros(200, 10))),
        ("a bomb of many entries that overlap", Refused("overlap"), overlapping(1_000)),
        ("a size of almost 4 GiB", Refused(""), one(Entry { size: u32::MAX - 1, ..file(b"a", b"x") })),
        ("a size that is not there", Refused("damaged"), one(Entry { size: 1 << 10, ..file(b"a", b"x") })),
        ("a wrong checksum", Refused("damaged"), one(Entry { crc: 1, ..file(b"a", b"x") })),
        ("two names of one entry", Harmless(&["a"]), one(twofold)),
        ("a password", Refused("encrypted"), one(Entry { flags: 1, ..file(b"a", b"0123456789abcdef") })),
        ("deflate64", Refused("Deflate64"), one(Entry { method: 9, ..file(b"a", b"x") })),
        ("bzip2", Refused("Bzip2"), one(Entry { method: 12, ..file(b"a", b"x") })),
        ("lzma", Refused("Lzma"), one(Entry { method: 14, ..file(b"a", b"x") })),
        ("zstd", Refused("Zstd"), one(Entry { method: 93, ..file(b"a", b"x") })),
        ("an unknown method", Refused("compressed by"), one(Entry { method: 77, ..file(b"a", b"x") })),
        ("no deflated bytes", Refused("damaged"), one(Entry { method: DEFLATED, ..file(b"a", b"xxxxxxxxx") })),
        ("its first half", Refused("trap.zip"), half),
        ("its second half", Refused("trap.zip"), cut),
        ("nothing", Refused("trap.zip"), Vec::new()),
        ("an end without a beginning", Refused("trap.zip"), end(1, 100, 100)),
        ("another form under its name", Refused("trap.zip"), gzip(b"not a zip")),
        ("a comment that holds an end", Harmless(&["a"]), commented(&end(7, 1, 0))),
        ("a comment that holds an archive", Harmless(&["a"]), commented(&archive(&[file(b"planted", b"x")]))),
        ("a program before it", Harmless(&["a"]), [&b"#!/bin/sh\n"[..], &harmless()].concat()),
        ("names that differ in case", Harmless(&["A", "a"]), archive(&[file(b"a", b"1"), file(b"A", b"2")])),
    ];
    traps.into_iter().map(|(what, fate, content)| Trap { what, file: "trap.zip", content, fate }).collect()
}
