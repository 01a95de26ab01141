//! Entries of the event log as Redis answers with them. Each is taken apart by itself: one that can't be is marked, and
//! stops no other.

use std::collections::HashMap;

use events::AggregateId;
use events::log::stored::StoredEvent;
use events::ports::{HistoryEntry, PortError};
use redis::Value;

use crate::redis::commit::wire::STORED_VERSION;
use crate::redis::connection::trouble::{corrupt, parse_stream_id, unreadable};

/// The entries of an answer to `XRANGE`, oldest first.
///
/// # Errors
/// If it is no such answer.
pub(crate) fn read_entries(reply: &Value) -> Result<Vec<HistoryEntry>, PortError> {
    let Value::Array(entries) = reply else { return Err(corrupt("the answer is no list of entries")) };
    entries.iter().filter(|entry| **entry != Value::Nil).map(read_entry).collect()
}

/// The entries of an answer to `XREAD` of one stream; none if it waited in vain.
///
/// # Errors
/// If it is no such answer.
pub(crate) fn read_new_entries(reply: &Value) -> Result<Vec<HistoryEntry>, PortError> {
    match reply {
        Value::Nil => Ok(vec![]),
        Value::Map(streams) => streams.iter().map(|(_, entries)| read_entries(entries)).next().unwrap_or(Ok(vec![])),
        Value::Array(streams) => match streams.first() {
            Some(Value::Array(stream)) if stream.len() == 2 => read_entries(&stream[1]),
            None => Ok(vec![]),
            Some(_) => Err(corrupt("the answer is no stream")),
        },
        _ => Err(corrupt("the answer is no list of streams")),
    }
}

fn read_entry(entry: &Value) -> Result<HistoryEntry, PortError> {
    let Value::Array(parts) = entry else { return Err(corrupt("an entry is no list")) };
    let [id, fields] = parts.as_slice() else { return Err(corrupt("an entry is no id with fields")) };
    let id = parse_stream_id(&redis::from_redis_value_ref::<String>(id).map_err(unreadable)?)?;
    let fields: HashMap<Vec<u8>, Vec<u8>> = redis::from_redis_value_ref(fields).map_err(unreadable)?;
    Ok(HistoryEntry { id, event: read_event(&fields) })
}

fn read_event(fields: &HashMap<Vec<u8>, Vec<u8>>) -> StoredEvent {
    let mut problem = None;
    let mut text = |name: &str| {
        let found = fields.get(name.as_bytes()).map(|bytes| std::str::from_utf8(bytes));
        match found {
            Some(Ok(text)) => return text.to_owned(),
            Some(Err(_)) => problem.get_or_insert(format!("the field {name:?} is not UTF-8")),
            None => problem.get_or_insert(format!("the field {name:?} is missing")),
        };
        String::new()
    };
    let [version, seq] = [STORED_VERSION, "seq"].map(&mut text);
    let mut event = StoredEvent {
        kind: text("type"),
        version: 0,
        aggregate: text("agg"),
        seq: 0,
        at: text("at"),
        actor: text("actor"),
        trace: text("trace"),
        data: text("data"),
    };
    match (version.parse(), seq.parse()) {
        (Ok(version), Ok(seq)) => (event.version, event.seq) = (version, seq),
        _ => _ = problem.get_or_insert("its version or its number is none".to_owned()),
    }
    // Whose it is must be known for sure, or not at all.
    if event.aggregate.parse::<AggregateId>().is_err() {
        problem.get_or_insert(format!("{:?} is no aggregate", event.aggregate));
        event.aggregate.clear();
    }
    match problem {
        None => event,
        Some(why) => event.unreadable(why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Fields<'a> = Vec<(&'a str, &'a [u8])>;

    fn text(text: &[u8]) -> Value {
        Value::BulkString(text.to_vec())
    }

    fn entry(id: &str, fields: &[(&str, &[u8])]) -> Value {
        let fields = fields.iter().flat_map(|(name, value)| [text(name.as_bytes()), text(value)]).collect();
        Value::Array(vec![text(id.as_bytes()), Value::Array(fields)])
    }

    #[test]
    fn one_entry_that_is_garbage_stops_no_other() {
        let good: [(&str, &[u8]); 8] = [
            ("type", b"job.dispatched"),
            ("v", b"1"),
            ("agg", b"job:0192f1c3a4b57c6d8e9fa0b1c2d3e4f6"),
            ("seq", b"2"),
            ("at", b"2026-11-23T10:00:03.000001Z"),
            ("actor", b"system:slots"),
            ("trace", b""),
            ("data", b"{}"),
        ];
        let with = |name: &str, value: &'static [u8]| {
            good.map(|(known, kept)| (known, if known == name { value } else { kept })).to_vec()
        };
        let cases: [(Fields<'_>, &str); 7] = [
            (good[1..].to_vec(), "\"type\" is missing"),
            (with("data", b"{\"a\":\"\xff\"}"), "\"data\" is not UTF-8"),
            (with("seq", b"two"), "its number is none"),
            (with("v", b"-1"), "its version or"),
            (with("agg", b"job:x"), "no aggregate"),
            (with("agg", b"\xfe"), "\"agg\" is not UTF-8"),
            (vec![("x", b"\xff")], "is missing"),
        ];
        for (fields, wanted) in cases {
            let reply = Value::Array(vec![entry("1-1", &good), entry("1-2", &fields), entry("1-3", &good)]);
            let entries = read_entries(&reply).unwrap();
            assert!(entries.len() == 3 && entries[2].event.read().is_ok(), "{wanted}");
            let error = entries[1].event.read().unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let mut odd = good.to_vec();
        odd.push(("more", b"\xff"));
        let reply = Value::Array(vec![Value::Array(vec![text(b"key"), Value::Array(vec![entry("1-1", &odd)])])]);
        assert!(read_new_entries(&reply).unwrap()[0].event.read().is_ok(), "what nobody reads may be anything");
        assert_eq!(read_new_entries(&Value::Nil).unwrap(), []);
    }
}
