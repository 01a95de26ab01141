//! An `MLflow` that is away, broken, slow, or forgets what it answered for, and workers that die while they speak to
//! it. A job's end never waits long, and in the end there is exactly one complete run of it.

mod outages;
mod workers;

use std::process::Command;

use leadersboard_tests::board::Process;
use leadersboard_tests::client::Client;
use leadersboard_tests::http_faults::HttpFaults;
use leadersboard_tests::mlflow::Mlflow;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::tracked::{PATIENCE, assert_complete, environment, little, reporting, settled};
use leadersboard_tests::wait::until_equal;

use super::{UNDISTURBED, all_ended};

/// The files of a job, and their size.
const FILES: usize = 3;
const BYTES: usize = 300_000;

/// Roles apart whose runs are recorded.
struct Site {
    mlflow: Mlflow,
    roles: Roles,
    _api: Process,
    alice: Client,
}

impl Site {
    async fn new() -> Self {
        let mlflow = Mlflow::shared().await;
        let roles = Roles::new().await;
        roles.migrate(&[]);
        let (api, alice) = roles.api_with("api", &[("MLFLOW_TRACKING_URI", mlflow.address())]);
        Self { mlflow, roles, _api: api, alice }
    }

    /// A network between workers and `MLflow`.
    fn network(&self) -> HttpFaults {
        HttpFaults::before(self.mlflow.address())
    }

    fn worker_command(&self, name: &str, network: &HttpFaults) -> Command {
        let mut worker = self.roles.worker_command(name, self.roles.lease);
        worker.envs(environment(&self.mlflow, &network.address())).env("TRACKING_BUDGET", "2s");
        worker
    }

    fn worker(&self, name: &str, network: &HttpFaults) -> Process {
        Process::spawn(self.worker_command(name, network))
    }

    async fn run(&self) -> String {
        self.alice.run(&reporting(&little(), FILES, BYTES)).await
    }

    /// There is exactly one complete run of each of these jobs and no other, once what was late has come and gone.
    async fn assert_one_each(&self, networks: &[&HttpFaults], jobs: &[String]) {
        for network in networks {
            until_equal("requests under way", PATIENCE, 0, async || network.under_way()).await;
        }
        settled(&self.mlflow, jobs.len(), "FINISHED").await;
        let read = self.mlflow.read_back().await;
        for job in jobs {
            assert_complete(&read, &self.alice, job, &little()).await;
        }
        assert_eq!(read.active().count(), jobs.len());
    }
}
