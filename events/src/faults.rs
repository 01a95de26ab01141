//! Known mistakes, each of which the tests must notice. Only a program built with the feature `faults` has them.

/// Whether a program is to make the known mistake of this name.
///
/// Which one is said by the environment variable `LEADERSBOARD_BUG`, when the program was built with the feature
/// `faults`.
#[cfg(feature = "faults")]
#[must_use]
#[expect(clippy::disallowed_methods, reason = "a program with known mistakes is never run for anything but a test")]
pub fn bug(name: &str) -> bool {
    static BUG: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    BUG.get_or_init(|| std::env::var("LEADERSBOARD_BUG").ok()).as_deref() == Some(name)
}

/// Whether to make the known mistake of this name: never, unless the crate that asks has the feature `faults` on.
#[macro_export]
macro_rules! seeded_bug {
    ($name:literal) => {{
        #[cfg(feature = "faults")]
        let on = $crate::faults::bug($name);
        #[cfg(not(feature = "faults"))]
        let on = false;
        on
    }};
}
