//! What a tracker is told is there, exactly and once.

use leadersboard_tests::mlflow::Mlflow;
use serde_json::json;

async fn by_hand(mlflow: &Mlflow) {
    let experiment = mlflow.create_experiment().await;
    let (_, made) =
        mlflow.post("runs/create", &json!({ "experiment_id": experiment, "start_time": 5, "run_name": "x" })).await;
    let run = made["run"]["info"]["run_id"].as_str().expect("an id");
    let (status, _) = mlflow
        .post(
            "runs/log-batch",
            &json!({ "run_id": run, "params": [{"key": "a", "value": "1"}],
        "metrics": [{"key": "m_1", "value": 0.0, "timestamp": 5, "step": 0}],
        "tags": [{"key": "leadersboard.originals.metrics", "value": r#"{"m_1":{"name":"m@1","value":"-0.0"}}"#}] }),
        )
        .await;
    assert_eq!(status.as_u16(), 200);
    let back = mlflow.read_back().await;
    eprintln!("{back:#?}");
    back.only().assert_holds(&json!({ "params": { "a": 1 }, "metrics": { "m@1": -0.0 } }));
    assert_eq!(mlflow.runs().await.len(), 1);
}

#[tokio::test]
async fn harness_one() {
    by_hand(&Mlflow::shared().await).await;
}

#[tokio::test]
async fn harness_two() {
    by_hand(&Mlflow::shared().await).await;
}
