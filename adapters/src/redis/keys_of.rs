//! Which key an error of Redis is about, which Redis itself does not tell.

use redis::{Arg, Cmd, Value};

use crate::redis::connection::trouble::WRONG_TYPE;

/// The most keys that are named.
const MAX_NAMED: usize = 4;

/// The answer to a command. If it is that a key holds a value of another type, it names the key.
pub(super) fn with_key_named(command: &Cmd, answer: Value) -> Value {
    if !matches!(&answer, Value::ServerError(error) if error.code() == WRONG_TYPE) {
        return answer;
    }
    let keys = keys_of(command);
    let named =
        if keys.len() > 1 { format!("one of the keys {}", keys.join(", ")) } else { format!("key {}", keys.concat()) };
    redis::parse_redis_value(format!("-{WRONG_TYPE} {named}\r\n").as_bytes()).unwrap_or(answer)
}

/// The keys that a command names, the first few of them.
fn keys_of(command: &Cmd) -> Vec<String> {
    let words: Vec<&[u8]> = command
        .args_iter()
        .map(|word| match word {
            Arg::Simple(word) => word,
            _ => b"",
        })
        .collect();
    let number = |at: usize| std::str::from_utf8(words.get(at)?).ok()?.parse::<usize>().ok();
    let (first, count) = match words.first().map(|name| name.to_ascii_uppercase()).as_deref() {
        Some(b"EVAL" | b"EVALSHA") => (3, number(2).unwrap_or_default()),
        Some(b"XREAD" | b"XREADGROUP") => {
            let streams =
                words.iter().position(|word| word.eq_ignore_ascii_case(b"STREAMS")).map_or(words.len(), |at| at + 1);
            (streams, words.len().saturating_sub(streams) / 2)
        }
        Some(b"XINFO" | b"XGROUP") => (2, 1),
        _ => (1, 1),
    };
    words.iter().skip(first).take(count.min(MAX_NAMED)).map(|key| key.escape_ascii().to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_of_another_type_is_told_with_its_key() {
        let wrong = || redis::parse_redis_value(b"-WRONGTYPE Operation against a key\r\n").unwrap();
        let command = |words: &[&str]| redis::cmd(words[0]).arg(&words[1..]).to_owned();
        for (words, named) in [
            (&["ZCARD", "jobs"][..], "key jobs"),
            (&["xinfo", "CONSUMERS", "queue:small", "workers"], "key queue:small"),
            (&["EVALSHA", "0f", "2", "events", "leases", "x"], "one of the keys events, leases"),
            (&["XREADGROUP", "GROUP", "workers", "one", "STREAMS", "queue:small", ">"], "key queue:small"),
            (&["GET", "a\r\nb"], "key a\\r\\nb"),
            (&["EVALSHA", "0f", "0"], "key "),
        ] {
            let Value::ServerError(told) = with_key_named(&command(words), wrong()) else { panic!("{words:?}") };
            assert_eq!((told.code(), told.details().unwrap_or_default().trim()), (WRONG_TYPE, named.trim()));
        }
        assert_eq!(with_key_named(&command(&["GET", "a"]), Value::Okay), Value::Okay);
    }
}
