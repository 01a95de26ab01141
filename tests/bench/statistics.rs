//! What is said of many samples.

/// The value below which this share of the samples lies; sorts them.
pub(crate) fn percentile<T: Copy + Ord>(samples: &mut [T], share: f64) -> T {
    samples.sort_unstable();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
    let at = ((samples.len() - 1) as f64 * share).round() as usize;
    samples[at]
}

/// The value in the middle.
pub(crate) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
