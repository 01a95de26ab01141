//! Resource classes as they are written: `small=30m,medium=60m:memory=16GiB:gpus=1`, or `@` and a file of them.

use std::fmt::Display;
use std::time::Duration;

use anyhow::{Context, Error, Result, bail};
use events::ClassName;
use events::policy::{ClassSettings, ResourceClass};

use crate::value;

/// Resource classes as they were given, the first of which is the default.
#[derive(Debug, Clone)]
pub(crate) struct Classes(pub(crate) Vec<ClassSettings>);

/// Reads classes, of a file where the text is `@` and its path.
pub(crate) fn read(text: &str) -> Result<Classes, String> {
    let classes = match text.strip_prefix('@') {
        Some(path) => std::fs::read_to_string(path)
            .with_context(|| format!("{path} can't be read"))
            .and_then(|text| parse(text.lines().map(|line| line.split('#').next().unwrap_or_default()))),
        None => parse(text.split(',')),
    };
    classes.map_err(|error| format!("RESOURCE_CLASSES: {error:#}"))
}

fn parse<'a>(parts: impl Iterator<Item = &'a str>) -> Result<Classes> {
    let mut classes: Vec<ClassSettings> = Vec::new();
    for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
        let class = parse_class(part)?;
        if classes.iter().any(|other| other.name == class.name) {
            bail!("{} is named twice", class.name);
        }
        classes.push(class);
    }
    Ok(Classes(classes))
}

fn parse_class(text: &str) -> Result<ClassSettings> {
    let (name, limits) = text.split_once('=').with_context(|| format!("{text:?} is not NAME=TIME"))?;
    let name: ClassName = name.trim().parse().with_context(|| format!("{name:?}"))?;
    let mut limits = limits.split(':').map(str::trim);
    let time = limits.next().unwrap_or_default();
    let time = value::time(time).map_err(Error::msg)?;
    let mut class = ClassSettings::of(name, time.as_secs());
    for limit in limits {
        let in_class = || format!("{limit:?} of class {}", class.name);
        let (key, value) = limit.split_once('=').with_context(|| format!("{} is not KEY=VALUE", in_class()))?;
        let (key, value) = (key.trim(), value.trim());
        let is_new = match key {
            "memory" => class.memory_bytes.replace(bytes(value).with_context(in_class)?).is_none(),
            "processes" => class.processes.replace(number(value).with_context(in_class)?).is_none(),
            "output" => class.output_bytes.replace(bytes(value).with_context(in_class)?).is_none(),
            "log" => class.log_bytes.replace(bytes(value).with_context(in_class)?).is_none(),
            "gpus" => class.gpus.replace(number(value).with_context(in_class)?).is_none(),
            _ => bail!("{}: {key:?} is none of memory, processes, output, log, gpus", in_class()),
        };
        if !is_new {
            bail!("{key} of class {} is given twice", class.name);
        }
    }
    Ok(class)
}

fn bytes(text: &str) -> Result<u64> {
    Ok(value::size(text).map_err(Error::msg)?.as_u64())
}

fn number(text: &str) -> Result<u32> {
    value::count(text).map_err(Error::msg)
}

/// A class with all its limits, as it can be set.
pub(crate) fn in_full(name: &ClassName, class: &ResourceClass) -> String {
    let time = humantime::format_duration(Duration::from_secs(class.time_limit_s)).to_string().replace(' ', "");
    let memory = class.memory_bytes.map_or_else(String::new, |bytes| format!(":memory={}", size(bytes)));
    let (processes, gpus) = (class.processes, class.gpus);
    let (output, log) = (size(class.output_bytes), size(class.log_bytes));
    format!("{name}={time}{memory}:processes={processes}:output={output}:log={log}:gpus={gpus}")
}

/// A size to the byte, in the largest unit that it is a whole number of.
pub(crate) fn size(bytes: u64) -> impl Display {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, power)| bytes > 0 && bytes.trailing_zeros() >= *power) {
        Some((unit, power)) => format!("{}{unit}", bytes >> power),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use events::policy::PolicySettings;

    use super::*;

    #[test]
    fn the_first_class_is_the_default() {
        let classes = read("tiny=5s, small=30m").unwrap().0;
        let policy = PolicySettings { classes: Some(classes), ..PolicySettings::default() }.policy();
        assert_eq!(policy.default_class.as_str(), "tiny");
        assert_eq!(policy.classes.values().map(|class| class.time_limit_s).collect::<Vec<_>>(), [1800, 5]);
    }

    #[test]
    fn a_class_that_is_printed_can_be_read_again() {
        let all = "big=1h30m:memory=16GiB:processes=512:output=5000000000:log=64MiB:gpus=1";
        let classes = read(&all.replace("5000000000", "5GB")).unwrap().0;
        assert_eq!(in_full(&classes[0].name, &classes[0].class()), all);
        let default = read("small=30m").unwrap().0;
        let printed = in_full(&default[0].name, &default[0].class());
        assert_eq!(printed, "small=30m:processes=4096:output=20GiB:log=256MiB:gpus=0");
        assert_eq!(read(&printed).unwrap().0[0].class(), default[0].class());
    }

    #[test]
    fn a_file_has_one_class_a_line_and_may_say_why() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(file, "# for courses\nsmall=30m\n\nmedium=60m:gpus=1  # one card\n").unwrap();
        let classes = read(&format!("@{}", file.path().display())).unwrap().0;
        let names: Vec<_> = classes.iter().map(|class| (class.name.as_str(), class.gpus)).collect();
        assert_eq!(names, [("small", None), ("medium", Some(1))]);
        assert!(read("@/nowhere").unwrap_err().contains("/nowhere"));
    }

    #[test]
    fn a_class_that_cannot_be_read_is_named() {
        let bad = [
            ("small", "small"),
            ("small=soon", "soon"),
            ("Big=1m", "Big"),
            ("a=1m,a=2m", "a is named twice"),
            ("a=1m:memory=much", "much"),
            ("a=1m:gpus=-1", "-1"),
            ("a=1m:cores=3", "cores"),
            ("a=1m:gpus", "gpus"),
            ("a=1m:gpus=1:gpus=2", "gpus of class a is given twice"),
        ];
        for (text, culprit) in bad {
            let error = read(text).unwrap_err();
            assert!(error.contains(culprit), "{error}");
        }
    }
}
