//! How much work a log may cost to show, by its length.

/// Steps that each byte of a log pays for. A step is an effect, or a byte or character that is written, erased or
/// passed. Programs that show bars and colours need fewer than four.
const STEPS_PER_BYTE: usize = 8;

/// The steps that a log has paid for and not used. Each operation costs what it takes, so that the work is in
/// proportion to the length of the log, whatever the log does.
#[derive(Debug, Default)]
pub(super) struct Budget {
    left: usize,
    is_spent: bool,
}

impl Budget {
    pub(super) fn earn(&mut self, bytes: usize) {
        self.left = self.left.saturating_add(bytes.saturating_mul(STEPS_PER_BYTE));
    }

    pub(super) fn spend(&mut self, steps: usize) {
        self.is_spent |= self.left < steps;
        self.left = self.left.saturating_sub(steps);
    }

    /// Whether the log has ever cost more than it has paid for. From then on its text is shown without effects.
    pub(super) fn is_spent(&self) -> bool {
        self.is_spent
    }
}
