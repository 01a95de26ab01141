//! The config of a new job: stored exactly as written, and read for the keys that the platform knows.

use events::{ClassName, Policy, json};
use serde_json::{Map, Value};

use crate::answer::error::Error;

/// The most bytes a job's config may have as JSON text.
pub(super) const MAX_CONFIG_BYTES: usize = 16 * 1024;
/// The one key of a config that means something to the platform. All others are the job's own.
const RESOURCE_CLASS: &str = "resource_class";
/// The largest edit distance at which a key counts as a mistyped known key.
const NEAR: usize = 2;
/// How many warnings an answer holds.
const MAX_WARNINGS: usize = 10;

/// Returns a config as the text to store, and as the object it contains.
pub(super) fn read(config: Option<&str>) -> Result<(String, Map<String, Value>), Error> {
    let text = config.unwrap_or("{}");
    if text.len() > MAX_CONFIG_BYTES {
        return Err(Error::Invalid(format!("config is larger than {MAX_CONFIG_BYTES} bytes")));
    }
    let object = json::read_distinct(text).map_err(|error| Error::Invalid(format!("config {error}")))?;
    Ok((text.to_owned(), object))
}

/// The resource class that a config asks for.
pub(super) fn class(config: &Map<String, Value>, policy: &Policy) -> Result<ClassName, Error> {
    match config.get(RESOURCE_CLASS) {
        None => Ok(policy.default_class.clone()),
        Some(Value::String(name)) => match name.parse::<ClassName>() {
            Ok(class) if policy.class(&class).is_some() => Ok(class),
            _ => {
                let offer: Vec<&str> = policy.classes.keys().map(ClassName::as_str).collect();
                let offer = offer.join(", ");
                Err(Error::Invalid(format!("there is no resource class {name:?}; on offer: {offer}")))
            }
        },
        Some(_) => Err(Error::Invalid("config.resource_class must be a string".to_owned())),
    }
}

/// Returns a warning for each key that looks like a mistyped known key.
pub(super) fn warnings(config: &Map<String, Value>) -> Vec<String> {
    let plain = |key: &str| key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let is_near = |key: &&String| {
        // A long key is not a typing mistake, and comparing it would take long.
        let lengths = 1..=2 * RESOURCE_CLASS.len();
        let distance = || strsim::osa_distance(&plain(key), &plain(RESOURCE_CLASS));
        *key != RESOURCE_CLASS && lengths.contains(&key.len()) && distance() <= NEAR
    };
    let warning = |key: &String| format!("config.{key} is unknown to the platform: did you mean {RESOURCE_CLASS}?");
    config.keys().filter(is_near).take(MAX_WARNINGS).map(warning).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(config: &str) -> Result<(String, String), String> {
        match read(Some(config)).and_then(|(text, config)| Ok((class(&config, &Policy::default())?, text))) {
            Ok((class, text)) => Ok((class.to_string(), text)),
            Err(Error::Invalid(why)) => Err(why),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_config_is_stored_as_it_came() {
        let config = r#"{ "resource_class": "medium", "b": 1.10, "a": [1e2], "seed": 123456789012345678901234567890 }"#;
        assert_eq!(stored(config), Ok(("medium".to_owned(), config.to_owned())));
        assert_eq!(stored("{}").unwrap().0, "small");
    }

    #[test]
    fn a_bad_config_is_refused_by_name() {
        let unknown = stored(r#"{"resource_class": "huge"}"#).unwrap_err();
        assert_eq!(unknown, "there is no resource class \"huge\"; on offer: medium, small");
        assert!(stored(r#"{"resource_class": 3}"#).unwrap_err().contains("must be a string"));
        assert_eq!(stored("[1]").unwrap_err(), "config must be a JSON object, not a list");
        assert!(stored(&format!("{{\"x\": \"{}\"}}", "y".repeat(MAX_CONFIG_BYTES))).unwrap_err().contains("larger"));
        assert!(stored(&format!("{{\"x\": {}1{}}}", "[".repeat(200), "]".repeat(200))).unwrap_err().contains("deeper"));
        for twice in [r#"{"resource_class": "small", "resource_class": "medium"}"#, r#"{"x": 1, "\u0078": 1}"#] {
            assert!(stored(twice).unwrap_err().contains("twice"), "{twice}");
        }
        assert!(stored(r#"{"x": {"a": 1, "a": 2}}"#).is_ok(), "what the job reads is its author's affair");
        assert!(stored(r#"{"x": {"$serde_json::private::RawValue": "1"}}"#).unwrap_err().contains("reserved name"));
    }

    #[test]
    fn a_key_near_a_known_one_is_warned_of_and_others_are_the_jobs_own() {
        let warnings = |config: &str| warnings(&read(Some(config)).unwrap().1);
        for key in
            ["resourc_class", "resource_clas", "resoruce_class", "resourceClass", "Resource-Class", "ressource_class"]
        {
            let told = warnings(&format!(r#"{{"{key}": "medium", "learning_rate": 1}}"#));
            let wanted = format!("config.{key} is unknown to the platform: did you mean resource_class?");
            assert_eq!(told, [wanted]);
        }
        let long = "x".repeat(10_000);
        assert!(
            warnings(&format!(r#"{{"resource_class": "medium", "class": 1, "resources": 2, "{long}": 3, "": 4}}"#))
                .is_empty()
        );
    }
}
