//! Which of the machine's GPUs jobs may have.

use std::str::FromStr;

use super::driver::Device;

/// Which of the machine's GPUs jobs may have: `all`, `none`, or numbers in the order of the PCI bus and UUIDs, separated
/// by commas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every one, also one that is plugged in later.
    All,
    /// Not one.
    None,
    /// These.
    These(Vec<Choice>),
}

/// One GPU, as it was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// By its place on the PCI bus.
    Index(u32),
    /// By its UUID.
    Uuid(String),
}

impl Selection {
    pub(super) fn takes(&self, device: &Device) -> bool {
        match self {
            Self::All => true,
            Self::None => false,
            Self::These(choices) => choices.iter().any(|choice| choice.is(device)),
        }
    }

    /// What was named and is not there.
    pub(super) fn missing(&self, devices: &[Device]) -> Vec<String> {
        let Self::These(choices) = self else { return vec![] };
        let missing = choices.iter().filter(|choice| !devices.iter().any(|device| choice.is(device)));
        missing
            .map(|choice| match choice {
                Choice::Index(index) => index.to_string(),
                Choice::Uuid(uuid) => uuid.clone(),
            })
            .collect()
    }
}

impl Choice {
    fn is(&self, device: &Device) -> bool {
        match self {
            Self::Index(index) => device.index == *index,
            Self::Uuid(uuid) => device.uuid == *uuid,
        }
    }
}

impl FromStr for Selection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let choice = |part: &str| match part.parse() {
            Ok(index) => Ok(Choice::Index(index)),
            Err(_) if part.starts_with("GPU-") => Ok(Choice::Uuid(part.to_owned())),
            Err(_) => Err(format!(
                "{part:?} names no GPU: give all, none, or numbers as in nvidia-smi or UUIDs, such as 0,GPU-5c2e…"
            )),
        };
        match text.trim() {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            list => list.split(',').map(str::trim).map(choice).collect::<Result<_, _>>().map(Self::These),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(index: u32) -> Device {
        let (uuid, name) = (format!("GPU-{index}"), String::new());
        Device { uuid, name, index, minor: index, memory_bytes: 0, unfit: None }
    }

    #[test]
    fn gpus_are_named_by_place_or_uuid() {
        let selection: Selection = "0, GPU-2,9".parse().unwrap();
        let devices = [0, 1, 2].map(device);
        let taken: Vec<_> =
            devices.iter().filter(|device| selection.takes(device)).map(|device| device.index).collect();
        assert_eq!(taken, [0, 2]);
        assert_eq!(selection.missing(&devices), ["9"]);
        assert_eq!("all".parse(), Ok(Selection::All));
        assert_eq!("none".parse(), Ok(Selection::None));
    }

    #[test]
    fn a_name_that_is_none_is_refused_by_name() {
        for text in ["", "fast", "0,,1", "-1", "0,x"] {
            assert!(text.parse::<Selection>().is_err(), "{text}");
        }
        assert!("0,fast".parse::<Selection>().unwrap_err().contains("fast"));
    }
}
