//! What earlier processes under this work root left: processes, tickets, directories.

use std::io;
use std::path::Path;

use events::execute::ExecuteError;
use events::ports::{Claim, PortError};
use events::{Consumer, JobCommand, JobState, LossCause};
use tokio::task::spawn_blocking;

use crate::outage::Outage;
use crate::recovery::leftovers::kill_marked;
use crate::recovery::worker_directory::Station;
use crate::session::Session;

/// Ends what dead workers left running below this folder, and removes their files. What must be settled with Redis stays.
///
/// To be called before Redis is needed: their files may be what leaves it no room.
pub async fn clear_leftovers(work_root: &Path) {
    let stations = match Station::of_the_dead(work_root) {
        Ok(stations) => stations,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return,
        Err(error) => {
            tracing::warn!(%error, "the leftovers of earlier workers can't be listed");
            return;
        }
    };
    for station in stations {
        let dead = station.consumer().clone();
        let survivors = kill_marked(&format!("{dead}/")).await;
        if !survivors.is_empty() {
            tracing::error!(%dead, ?survivors, "processes of its jobs do not die");
        }
        match spawn_blocking(move || station.empty()).await {
            Ok(Ok(())) => tracing::info!(%dead, "removed the files that an earlier worker left"),
            Ok(Err(error)) => {
                tracing::warn!(%dead, %error, "the files that an earlier worker left could not be removed");
            }
            Err(error) => tracing::warn!(%dead, %error, "deleting the files of an earlier worker stopped early"),
        }
    }
}

/// Settles what the dead left, and gives the tickets they had claimed and not started.
pub(crate) async fn take_over(session: &Session) -> Vec<Claim> {
    let stations = match Station::of_the_dead(&session.config.work_root) {
        Ok(stations) => stations,
        Err(error) => {
            tracing::warn!(%error, "the leftovers of earlier workers can't be listed");
            return vec![];
        }
    };
    let mut inherited = Vec::new();
    for station in stations {
        let dead = station.consumer().clone();
        tracing::info!(%dead, "recovering the jobs of an earlier worker");
        let survivors = kill_marked(&format!("{dead}/")).await;
        if !survivors.is_empty() {
            tracing::error!(%dead, ?survivors, "processes of its jobs do not die");
        }
        session.config.sandbox.sweep(dead.as_str());
        let Some(claims) = adopt(session, &dead).await else { return inherited };
        for claim in claims {
            if end_lease(session, &station, &claim).await {
                inherited.push(claim);
            }
        }
        if let Err(error) = station.close() {
            tracing::warn!(%dead, %error, "its directory could not be removed");
        }
    }
    inherited
}

/// The tickets of the dead, which are ours from now on; none if the worker is to stop before Redis answers.
async fn adopt(session: &Session, dead: &Consumer) -> Option<Vec<Claim>> {
    let classes = session.all_classes();
    let mut outage = Outage::of("taking over tickets");
    loop {
        match session.ports.queue.adopt(dead, &session.config.consumer, &classes).await {
            Ok(claims) => return Some(claims),
            Err(error) => tokio::select! {
                () = outage.pause(&error, session.ports.ids.jitter()) => {}
                () = session.stop.begun() => return None,
            },
        }
    }
}

/// Ends the run of a dead worker. Whether the ticket is still of use: it was claimed and not started.
async fn end_lease(session: &Session, station: &Station, claim: &Claim) -> bool {
    let mut outage = Outage::of("ending the leases of an earlier worker");
    loop {
        let error = match try_end_lease(session, station, claim).await {
            Ok(of_use) => return of_use,
            Err(error) => error,
        };
        tokio::select! {
            () = outage.pause(&error, session.ports.ids.jitter()) => {}
            () = session.stop.begun() => return true,
        }
    }
}

async fn try_end_lease(session: &Session, station: &Station, claim: &Claim) -> Result<bool, String> {
    let dead = station.consumer();
    let job = match session.ports.status.job(claim.job).await {
        // Who starts it puts it aside.
        Err(PortError::Corrupt(_)) => return Ok(true),
        job => job.map_err(|error| error.to_string())?,
    };
    let Some(job) = job else { return Ok(true) };
    let ran_it = job.run.as_ref().is_some_and(|run| run.worker == *dead);
    let (JobState::Running, true, Some(fence)) = (&job.state, ran_it, job.current_fence()) else { return Ok(true) };
    // It stopped in order, and only Redis was away: that costs the job no try.
    let (cause, error) = if station.is_unrecorded(fence) {
        (LossCause::Drain, format!("worker {dead} stopped, and could not record the end of the run"))
    } else {
        (LossCause::WorkerLost, format!("worker {dead} died while it ran the job"))
    };
    let command = JobCommand::LoseLease { fence: fence.clone(), cause, error };
    match session.command(job.id, &command, job.trace.clone()).await {
        Ok(_) | Err(ExecuteError::Rejected(_)) => Ok(false),
        Err(error) => Err(error.to_string()),
    }
}
