//! How far runs are and how their numbers go: live state, a hash a job.

use std::time::Duration;

use async_trait::async_trait;
use events::ports::{
    Curve, PortError, Progress, ProgressPort, ProgressReport, Shown, Stage, StageName, StageSeen, Stated,
};
use events::time::from_unix_micros;
use events::{Fence, JobId};
use redis::Script;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::redis::Redis;
use crate::redis::connection::trouble::{away, unreadable};

/// How long it is kept after the last report.
const KEPT_FOR: Duration = Duration::from_hours(1);

/// A curve as it is stored: its name and its points.
type StoredCurve = (String, Vec<(f64, f64)>);

#[async_trait]
impl ProgressPort for Redis {
    async fn report(&self, job: JobId, fence: &Fence, report: &ProgressReport) -> Result<Shown, PortError> {
        let ProgressReport { progress, curves, stage } = report;
        let done = stage.as_ref().map(|stage| text(&(stage.bytes_done, stage.bytes_total))).transpose()?;
        let progress = progress.as_ref().map(|progress| text(&(progress.fraction, &progress.message))).transpose()?;
        let curves = curves
            .as_ref()
            .map(|curves| text(&curves.iter().map(|curve| (&curve.name, &curve.points)).collect::<Vec<_>>()));
        let told: bool = Script::new(include_str!("report_progress.lua"))
            .key(self.keys().job(job))
            .key(self.keys().progress(job))
            .arg(fence.as_str())
            .arg(progress.unwrap_or_default())
            .arg(curves.transpose()?.unwrap_or_default())
            .arg(KEPT_FOR.as_millis().to_string())
            .arg(stage.as_ref().map_or("", |stage| stage.name.as_str()))
            .arg(done.unwrap_or_default())
            .arg(stage.as_ref().and_then(|stage| stage.reason.as_deref()).unwrap_or_default())
            .invoke_async(&mut self.connection())
            .await
            .map_err(away)?;
        Ok(if told { Shown::Yes } else { Shown::Refused })
    }

    async fn progress(&self, job: JobId, fence: &Fence) -> Result<Option<Stated>, PortError> {
        let [of, progress, at] = self.read_progress(job, ["fence", "progress", "at"]).await?;
        let (Some(of), Some(progress), Some(at)) = (of, progress, at) else { return Ok(None) };
        if of != fence.as_str() {
            return Ok(None);
        }
        let (fraction, message) = parsed(&progress)?;
        let at = from_unix_micros(at.parse().map_err(unreadable)?);
        Ok(Some(Stated { progress: Progress { fraction, message }, at }))
    }

    async fn stage(&self, job: JobId, fence: &Fence) -> Result<Option<StageSeen>, PortError> {
        let fields = ["fence", "stage", "since", "done", "reason"];
        let [of, stage, since, done, reason] = self.read_progress(job, fields).await?;
        let (Some(of), Some(stage), Some(since), Some(done)) = (of, stage, since, done) else { return Ok(None) };
        // A newer worker may know of more stages.
        let Some(name) = StageName::of(&stage).filter(|_| of == fence.as_str()) else { return Ok(None) };
        let (bytes_done, bytes_total) = parsed(&done)?;
        let since = from_unix_micros(since.parse().map_err(unreadable)?);
        let reason = reason.filter(|reason| !reason.is_empty());
        Ok(Some(StageSeen { stage: Stage { name, bytes_done, bytes_total, reason }, since }))
    }

    async fn curves(&self, job: JobId, fence: &Fence) -> Result<Vec<Curve>, PortError> {
        let [of, curves] = self.read_progress(job, ["fence", "curves"]).await?;
        match curves.filter(|_| of.as_deref() == Some(fence.as_str())) {
            None => Ok(Vec::new()),
            Some(curves) => {
                let curves: Vec<StoredCurve> = parsed(&curves)?;
                Ok(curves.into_iter().map(|(name, points)| Curve { name, points }).collect())
            }
        }
    }
}

impl Redis {
    async fn read_progress<const N: usize>(
        &self,
        job: JobId,
        fields: [&str; N],
    ) -> Result<[Option<String>; N], PortError> {
        let mut read = redis::cmd("HMGET");
        read.arg(self.keys().progress(job)).arg(&fields);
        read.query_async(&mut self.connection()).await.map_err(away)
    }
}

fn text(value: &impl Serialize) -> Result<String, PortError> {
    serde_json::to_string(value).map_err(unreadable)
}

fn parsed<T: DeserializeOwned>(text: &str) -> Result<T, PortError> {
    serde_json::from_str(text).map_err(unreadable)
}
