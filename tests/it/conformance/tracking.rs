//! What a tracker is told is there, exactly and once.

use leadersboard_tests::client::http_client;
use leadersboard_tests::http_faults::{Call, Fault, HttpFaults};
use leadersboard_tests::mlflow::Mlflow;
use serde_json::json;
use std::time::Duration;

#[tokio::test]
async fn proxy() {
    let mlflow = Mlflow::shared().await;
    let p = HttpFaults::before(mlflow.address());
    let http = http_client();
    let experiment = mlflow.create_experiment().await;
    let create = async || {
        let a = http
            .post(format!("{}/api/2.0/mlflow/runs/create", p.address()))
            .json(&json!({ "experiment_id": experiment, "start_time": 5, "run_name": "x" }))
            .timeout(Duration::from_secs(2))
            .send()
            .await;
        match a {
            Ok(a) => (a.status().as_u16(), a.text().await.unwrap()),
            Err(e) => (0, format!("{e:?}")),
        }
    };
    let (status, made) = create().await;
    eprintln!("{status} {made}");
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let run = made["run"]["info"]["run_id"].as_str().expect("an id").to_owned();
    for fault in [
        Fault::Down,
        Fault::Broken,
        Fault::HostCheck,
        Fault::Swallow(Call::Create),
        Fault::LoseAnswer(Call::Create),
        Fault::Locked("Bearer x".into()),
        Fault::Slow(Duration::from_secs(4)),
        Fault::None,
    ] {
        p.set(fault.clone());
        tokio::time::sleep(Duration::from_millis(100)).await;
        eprintln!(
            "{fault:?} {:?}; {} runs; struck {}; under way {}; creates {}",
            create().await,
            mlflow.runs().await.len(),
            p.struck(),
            p.under_way(),
            p.count(Call::Create)
        );
    }
    tokio::time::sleep(Duration::from_secs(4)).await;
    eprintln!("{} runs; struck {}; under way {}", mlflow.runs().await.len(), p.struck(), p.under_way());
    for cut in [Some(100_000), None] {
        p.set(cut.map_or(Fault::None, Fault::CutFiles));
        let a = http
            .put(format!("{}/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/a/b.bin", p.address()))
            .body(vec![7u8; 3_000_000])
            .send()
            .await;
        eprintln!("{cut:?} {a:?}");
        eprintln!("{:?}", mlflow.get("artifacts/list", &[("run_id", &run), ("path", "a")]).await);
    }
}
