//! A process that is killed, stopped, delayed or cut off at each step of its work. The program under test has the
//! feature `faults`: `make test-faults` builds it.
//!
//! Every test is one step. In each of four worlds one process meets its fault there, once; the others are well. Then
//! all that was accepted must end, and the log must tell a story without a flaw. Two files break no process, but take as long:
//! `requests.rs` sends requests that may be broken, and `pages.rs` shows pages in a browser.

mod accepting;
mod expiring;
mod gpus;
mod pages;
mod reaping;
mod reconciling;
mod replaying;
mod requests;
mod running;
mod storing;
mod tracking;

use std::time::Duration;

use leadersboard_tests::board::Process;
use leadersboard_tests::client::Client;
use leadersboard_tests::invariants::{Expect, Folded, check};
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::{until, until_equal};
use nix::sys::signal::Signal;
use projections::Keyspace;
use redis::aio::MultiplexedConnection;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_mins(1);

/// What happens to a process at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Stop,
    Error,
    Delay,
}

impl Fault {
    const ALL: [Self; 4] = [Self::Kill, Self::Stop, Self::Error, Self::Delay];

    /// As the crate `fail` reads it: once, at that step.
    fn at(self, step: &str) -> String {
        let action = match self {
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Error => "error",
            // Less than a lease.
            Self::Delay => "400",
        };
        format!("{step}=1*return({action})")
    }

    /// Whether the process lives through it without losing its lease.
    fn is_lived_through(self) -> bool {
        matches!(self, Self::Error | Self::Delay)
    }
}

/// Waits until the role has met its fault, so that a step which is never reached is never taken for passed.
async fn met(roles: &Roles, role: &str, step: &str) {
    let reached = format!("failpoint {step}:");
    until(&format!("{step} is reached"), PATIENCE, async || roles.words(role).contains(&reached).then_some(())).await;
}

/// A worker that meets a fault.
fn faulty(roles: &Roles, name: &str, step: &str, fault: Fault) -> Process {
    let mut worker = roles.worker_command(name, roles.lease);
    worker.env("FAILPOINTS", fault.at(step));
    Process::spawn(worker)
}

/// Lets a process that was stopped go on as a zombie does: long after its leases have ended.
fn wake(process: &Process) {
    process.signal(Signal::SIGCONT);
}

async fn redis(raw: &mut MultiplexedConnection, command: &[&str]) -> redis::Value {
    redis::cmd(command[0]).arg(&command[1..]).query_async(raw).await.expect("it runs")
}

/// Waits until every job has ended and neither a lease nor a ticket is left.
async fn ended(roles: &Roles) {
    let (mut raw, keys) = (roles.redis.connection().await, Keyspace::default());
    until_equal("open jobs", PATIENCE, 0, async || {
        redis::cmd("SCARD").arg(keys.open()).query_async::<u64>(&mut raw).await.expect("a count")
    })
    .await;
    until_equal("leases", PATIENCE, 0, async || {
        redis::cmd("HLEN").arg(keys.leases()).query_async::<u64>(&mut raw).await.expect("a count")
    })
    .await;
    let queue = keys.queue(&"small".parse().expect("a class"));
    until_equal("tickets", PATIENCE, 0, async || {
        redis::cmd("XLEN").arg(&queue).query_async::<u64>(&mut raw).await.expect("a count")
    })
    .await;
}

/// Checks all that must hold once every job has ended.
async fn flawless(roles: &Roles) -> Folded {
    ended(roles).await;
    check(&roles.redis.url(), &Keyspace::default(), Expect::AllEnded).await
}

/// Cancels a job as soon as it has run for a while.
async fn cancel_once_it_runs(alice: &Client, job: &str) {
    until("it runs or has ended", PATIENCE, async || {
        (alice.get(&format!("/jobs/{job}")).await.body["status"] != "pending").then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    until("its cancel is accepted", PATIENCE, async || {
        let answer = alice.post(&format!("/jobs/{job}/cancel"), &serde_json::json!({})).await;
        [202, 409].contains(&answer.status).then_some(())
    })
    .await;
}

/// One test a step, with all four faults side by side.
macro_rules! steps {
    ($world:path: $($test:ident = $step:literal),+ $(,)?) => {
        $(#[tokio::test]
        async fn $test() {
            futures::future::join_all($crate::Fault::ALL.map(|fault| $world($step, fault))).await;
        })+
    };
}
use steps;
