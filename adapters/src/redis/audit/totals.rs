//! The sizes of what users have stored: sums over submissions, which are compared with the log before these are.

use events::ports::PortError;
use projections::keys::ReadModel;
use redis::Script;

use super::report::{AuditReport, Difference, Mode};
use crate::redis::Redis;
use crate::redis::connection::trouble::away;

impl Redis {
    /// Compares each user's total with the sum over their submissions, at one moment; in [`Mode::Rebuild`] restores it.
    pub(super) async fn audit_totals(&self, mode: Mode, report: &mut AuditReport) -> Result<(), PortError> {
        let mut cursor = 0_u64;
        loop {
            let (next, found) = self.scan(&self.keys().users_pattern(), cursor).await?;
            for key in found {
                // A user who has a total and one who should have one.
                if let Some((total, index)) = self.keys().stored_of(&key) {
                    self.audit_total(mode, total, &index, report).await?;
                }
            }
            cursor = next;
            if cursor == 0 {
                return Ok(());
            }
        }
    }

    async fn audit_total(
        &self,
        mode: Mode,
        total: String,
        index: &str,
        report: &mut AuditReport,
    ) -> Result<(), PortError> {
        debug_assert_eq!(self.keys().read_model(&total), Some(ReadModel::Stored));
        let (found, wanted): (String, String) = Script::new(include_str!("total.lua"))
            .key(&total)
            .key(index)
            .arg(self.keys().submission_prefix())
            .arg(match mode {
                Mode::Verify => "verify",
                Mode::Rebuild => "rebuild",
            })
            .invoke_async(&mut self.connection())
            .await
            .map_err(away)?;
        if found != wanted {
            report.note(vec![Difference { key: total, found, wanted }]);
        }
        Ok(())
    }
}
