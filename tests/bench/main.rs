//! `make bench`: figures, printed and left to the reader. Nothing is asserted.
//!
//! `cargo bench -p leadersboard-tests --bench figures -- [footprint|leaderboard|status_reads|start_latency|life_cycles|recovery|sandbox|dead_letters|stream_clients|live_log|fairness|scale|tracking|downloads|uploads …]`
//!
//! `BENCH_MILLION=1` has `scale` go on to a million jobs.

mod dead_letters;
mod downloads;
mod fairness;
mod footprint;
mod leaderboard;
mod life_cycles;
mod live_log;
mod recovery;
mod sandbox;
mod scale;
mod start_latency;
mod statistics;
mod status_reads;
mod stream_clients;
mod tracking;
mod uploads;

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let asked = |name: &str| wanted.is_empty() || wanted.iter().any(|argument| argument == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        if asked("footprint") {
            footprint::print().await;
        }
        if asked("leaderboard") {
            leaderboard::print().await;
        }
        if asked("status_reads") {
            status_reads::print().await;
        }
        if asked("start_latency") {
            start_latency::print().await;
        }
        if asked("life_cycles") {
            life_cycles::print().await;
        }
        if asked("recovery") {
            recovery::print().await;
        }
        if asked("sandbox") {
            sandbox::print().await;
        }
        if asked("dead_letters") {
            dead_letters::print().await;
        }
        if asked("stream_clients") {
            stream_clients::print().await;
        }
        if asked("live_log") {
            live_log::print().await;
        }
        if asked("fairness") {
            fairness::print().await;
        }
        if asked("scale") {
            scale::print().await;
        }
        if asked("tracking") {
            tracking::print().await;
        }
        if asked("downloads") {
            downloads::print().await;
        }
        if asked("uploads") {
            uploads::print().await;
        }
    });
}
