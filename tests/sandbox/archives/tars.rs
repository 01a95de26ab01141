//! Traps of the form `.tar.gz`, written by hand: no library would.

use super::trap::{Fate, Trap, gzip};

const BLOCK: usize = 512;
/// Two blocks of zeros.
const END: [u8; 2 * BLOCK] = [0; 2 * BLOCK];

/// One entry: a header by POSIX.1-1988, and the content in whole blocks.
#[derive(Clone)]
struct Entry {
    name: Vec<u8>,
    kind: u8,
    link: &'static str,
    mode: u32,
    /// What the header says, where that is not what there is.
    size: Option<u64>,
    content: Vec<u8>,
}

fn file(name: &[u8], content: &[u8]) -> Entry {
    Entry { name: name.to_vec(), kind: b'0', link: "", mode: 0o644, size: None, content: content.to_vec() }
}

fn special(name: &str, kind: u8, link: &'static str) -> Entry {
    Entry { kind, link, ..file(name.as_bytes(), b"") }
}

/// A name that does not fit the header, as GNU writes it.
fn long(name: &[u8]) -> Vec<u8> {
    let name = [name, b"\0"].concat();
    [Entry { kind: b'L', ..file(b"././@LongLink", &name) }.bytes(), file(b"long", b"x").bytes()].concat()
}

/// A file after an extended header with this record.
fn pax(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    let digits = |length: usize| length.to_string().len();
    let length = rest.len() + digits(rest.len() + digits(rest.len()));
    let record = [length.to_string().as_bytes(), &rest].concat();
    [Entry { kind: b'x', ..file(b"pax", &record) }.bytes(), file(b"extended", b"x").bytes()].concat()
}

impl Entry {
    fn bytes(&self) -> Vec<u8> {
        let mut block = [0; BLOCK];
        let mut put = |at: usize, field: &[u8]| block[at..at + field.len()].copy_from_slice(field);
        put(0, &self.name[..self.name.len().min(100)]);
        put(100, format!("{:07o}\0", self.mode).as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", self.size.unwrap_or(self.content.len() as u64)).as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, &[self.kind]);
        put(157, self.link.as_bytes());
        put(257, b"ustar\x0000");
        put(329, b"0000001\0");
        put(337, b"0000003\0");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let padding = self.content.len().next_multiple_of(BLOCK) - self.content.len();
        [&block[..], &self.content, &vec![0; padding]].concat()
    }
}

fn archive(parts: &[Vec<u8>]) -> Vec<u8> {
    gzip(&[parts.concat(), END.to_vec()].concat())
}

/// What inflates to 200 MiB.
fn bomb() -> Vec<u8> {
    const PART: usize = 8 << 20;
    let head = Entry { size: Some(200 << 20), ..file(b"zeros", b"") }.bytes();
    let member = gzip(&vec![0; PART]);
    [gzip(&head), member.repeat(25), gzip(&END)].concat()
}

fn many(count: usize) -> Vec<u8> {
    archive(&(0..count).map(|number| file(format!("f{number}").as_bytes(), b"").bytes()).collect::<Vec<_>>())
}

fn with_wrong_sum() -> Vec<u8> {
    let mut entry = file(b"a", b"x").bytes();
    entry[148..156].copy_from_slice(b"000001\0 ");
    archive(&[entry])
}

fn with_negative_size() -> Vec<u8> {
    let mut entry = file(b"a", b"x").bytes();
    entry[124..136].copy_from_slice(&[0xff; 12]);
    entry[148..156].copy_from_slice(b"        ");
    let sum: u32 = entry[..BLOCK].iter().map(|byte| u32::from(*byte)).sum();
    entry[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    archive(&[entry])
}

pub(super) fn traps() -> Vec<Trap> {
    use Fate::{Broken, Harmless, Refused};
    let whole = archive(&[file(b"a", &[7; 4000]).bytes()]);
    let half = whole[..whole.len() / 2].to_vec();
    let one = |entry: Entry| archive(&[entry.bytes()]);
    let two = |first: Entry, second: Entry| archive(&[first.bytes(), second.bytes()]);
    let named = |name: &[u8]| one(file(name, b"x"));
    let deep = |depth: usize| "d/".repeat(depth) + "planted";
    let through = two(special("link", b'2', "/tmp"), file(b"link/planted", b"x"));
    let inner = archive(&[special("planted", b'2', "/etc").bytes()]);
    let behind = [archive(&[file(b"first", b"x").bytes()]), inner.clone()].concat();
    let traps: Vec<(&str, Fate, Vec<u8>)> = vec![
        ("a symbolic link", Refused("symbolic link"), one(special("planted", b'2', "/etc/passwd"))),
        ("a symbolic link and a file through it", Refused("symbolic link"), through),
        ("a symbolic link within", Refused("symbolic link"), one(special("planted", b'2', "main.py"))),
        ("a hard link", Refused("hard link"), one(special("planted", b'1', "/etc/passwd"))),
        ("a character device", Refused("device"), one(special("planted", b'3', ""))),
        ("a block device", Refused("device"), one(special("planted", b'4', ""))),
        ("a fifo", Refused("fifo"), one(special("planted", b'6', ""))),
        ("an entry of an unknown kind", Refused("special entry"), one(special("planted", b'Z', ""))),
        ("a sparse file", Refused("sparse"), one(special("planted", b'S', ""))),
        ("a sparse file of the newer form", Refused("sparse"), archive(&[pax("GNU.sparse.major", b"1")])),
        ("a name above", Refused(".."), named(b"../planted")),
        ("a name above in the middle", Refused(".."), named(b"a/../../planted")),
        ("a name above in an extended header", Refused(".."), archive(&[pax("path", b"../planted")])),
        ("a name above in a long name", Refused(".."), archive(&[long(b"../planted")])),
        ("an absolute name", Refused("absolute"), named(b"/tmp/planted")),
        ("an absolute name behind a dot", Refused(""), named(b".//tmp/planted")),
        ("a name above, as Windows has it", Refused(".."), named(b"..\\planted")),
        ("a name above behind half of a character", Refused(".."), named(b"\x95\x5c\\..\\..\\planted")),
        ("a drive's name", Refused("absolute"), named(b"C:\\planted")),
        ("a newline", Refused("control character"), named(b"a\nplanted")),
        ("an escape sequence", Refused("control character"), named(b"\x1b[2Jplanted")),
        ("a NUL", Refused("control character"), archive(&[pax("path", b"planted\0.py")])),
        ("a NUL in a long name", Broken, archive(&[long(b"main.py\0.txt")])),
        ("a name that is not UTF-8", Harmless(&["planted \u{fe}"]), named(b"planted \xfe")),
        ("a name of a megabyte", Refused("too large"), archive(&[long(&vec![b'a'; 1 << 20])])),
        ("a component of 300 bytes", Refused("overlong"), archive(&[long(&[b'a'; 300])])),
        ("a depth of 2,000", Refused("longer than"), archive(&[long(deep(2000).as_bytes())])),
        ("a depth of 100", Refused("deeper than"), archive(&[long(deep(100).as_bytes())])),
        ("100,000 entries", Refused(""), many(100_000)),
        ("10,001 entries of no size", Refused(""), many(10_001)),
        ("two files of one name", Refused("twice"), two(file(b"a", b"1"), file(b"a", b"2"))),
        ("two files of one name, written otherwise", Refused("twice"), two(file(b"a", b"1"), file(b"./a", b"2"))),
        ("a file, and a file in it", Refused("both"), two(file(b"a", b"1"), file(b"a/b", b"2"))),
        ("a folder, and a file in its place", Refused("both"), two(file(b"a/b", b"1"), file(b"a", b"2"))),
        ("a file in the place of the program", Refused("main.py"), named(b"main.py")),
        ("a bomb", Refused("bomb"), bomb()),
        ("a size of 8 GiB", Refused("unpacks to more"), one(Entry { size: Some((8 << 30) - 1), ..file(b"a", b"x") })),
        ("a size that is not there", Refused("damaged"), one(Entry { size: Some(1 << 20), ..file(b"a", b"x") })),
        ("a size that is negative", Refused("trap.tar.gz"), with_negative_size()),
        ("a size in an extended header", Refused("size"), archive(&[pax("size", b"1048576")])),
        ("a wrong checksum", Refused("damaged"), with_wrong_sum()),
        ("half of it", Refused("damaged"), half),
        ("nothing", Refused("trap.tar.gz"), Vec::new()),
        ("bytes behind its end", Refused("behind its end"), [&whole[..], b"garbage"].concat()),
        ("no archive", Refused("trap.tar.gz"), b"#!/bin/sh\necho planted\n".to_vec()),
        ("another form under its name", Refused("trap.tar.gz"), super::zips::harmless()),
        ("an archive in an archive", Harmless(&["inner.tar.gz"]), one(file(b"inner.tar.gz", &inner))),
        ("an archive behind its end", Harmless(&["first"]), behind),
        ("names that differ in case", Harmless(&["A", "a"]), two(file(b"a", b"1"), file(b"A", b"2"))),
        ("a program that changes its user", Harmless(&["a"]), one(Entry { mode: 0o7755, ..file(b"a", b"x") })),
        ("a file that nobody may read", Harmless(&["a"]), one(Entry { mode: 0, ..file(b"a", b"x") })),
        ("the service's own name", Harmless(&["metadata.json"]), named(b"metadata.json")),
    ];
    traps.into_iter().map(|(what, fate, content)| Trap { what, file: "trap.tar.gz", content, fate }).collect()
}
