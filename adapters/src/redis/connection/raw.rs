//! Replies read as bytes: what somebody else wrote into Redis need not be text.

use std::str::FromStr;

use events::{JobId, StreamId};
use redis::Value;

use crate::redis::commit::wire::TICKET_JOB;

/// An entry of a stream as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawEntry {
    pub(crate) id: StreamId,
    /// None for an entry that a consumer still holds and that was deleted from the stream.
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
}

impl RawEntry {
    /// The job that a ticket is for; none if the ticket can't be read.
    pub(crate) fn job(&self) -> Option<JobId> {
        self.field(TICKET_JOB).and_then(parse)
    }

    /// A field's content.
    pub(crate) fn field(&self, name: &str) -> Option<&[u8]> {
        let found = self.fields.iter().rev().find(|(field, _)| field == name.as_bytes());
        found.map(|(_, content)| content.as_slice())
    }
}

/// Bytes that spell something.
pub(crate) fn parse<T: FromStr>(bytes: &[u8]) -> Option<T> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// The entries in an answer to `XRANGE`.
pub(crate) fn entries(reply: &Value) -> Vec<RawEntry> {
    items(reply).iter().filter_map(entry).collect()
}

/// The entries in an answer to `XREADGROUP` on one stream.
pub(crate) fn entries_read(reply: &Value) -> Vec<RawEntry> {
    items(reply).iter().flat_map(|stream| items(stream).get(1).map(entries).unwrap_or_default()).collect()
}

/// What an answer says of a name, where it is a list of names and contents.
pub(crate) fn named<'a>(reply: &'a Value, name: &str) -> Option<&'a Value> {
    let pair = items(reply).chunks_exact(2).find(|pair| bytes(&pair[0]).is_some_and(|found| found == name.as_bytes()));
    pair.map(|pair| &pair[1])
}

/// The items of a list; none of what is no list.
pub(crate) fn items(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        _ => &[],
    }
}

/// The bytes of a string.
pub(crate) fn bytes(value: &Value) -> Option<&[u8]> {
    match value {
        Value::BulkString(bytes) => Some(bytes),
        Value::SimpleString(text) => Some(text.as_bytes()),
        _ => None,
    }
}

fn entry(value: &Value) -> Option<RawEntry> {
    let [id, fields] = items(value) else { return None };
    let pairs = items(fields).chunks_exact(2);
    let fields = pairs.filter_map(|pair| Some((bytes(&pair[0])?.to_vec(), bytes(&pair[1])?.to_vec()))).collect();
    Some(RawEntry { id: parse(bytes(id)?)?, fields })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(content: &[u8]) -> Value {
        Value::BulkString(content.to_vec())
    }

    #[test]
    fn a_ticket_of_any_bytes_is_read_and_one_that_names_no_job_says_so() {
        let job = "0192f1c3a4b57c6d8e9fa0b1c2d3e4f5";
        let fields = |fields: &[&[u8]]| Value::Array(fields.iter().map(|field| text(field)).collect());
        let tickets = [
            fields(&[b"job", job.as_bytes()]),
            fields(&[b"\xff", b"\x00", b"job", job.as_bytes()]),
            fields(&[b"job", b"\xff\xfe"]),
            fields(&[b"job", b""]),
            Value::Nil,
        ];
        let stream = tickets.map(|fields| Value::Array(vec![text(b"5-1"), fields]));
        let read = entries(&Value::Array(stream.to_vec()));
        let jobs: Vec<_> = read.iter().map(|entry| entry.job().map(|job| job.to_string())).collect();
        assert_eq!(jobs, [Some(job.to_owned()), Some(job.to_owned()), None, None, None]);
        let reply = Value::Array(vec![Value::Array(vec![text(b"queue"), Value::Array(stream.to_vec())])]);
        assert_eq!(entries_read(&reply), read);
        assert_eq!(entries_read(&Value::Nil), []);
    }
}
