//! The steps of storing what a run left: of each job the files of one run are there, whole, and of no other.

use leadersboard_tests::programs::INSTANT;
use leadersboard_tests::roles::Roles;
use serde_json::Value;

use crate::{Fault, faulty, flawless, met, steps, wake};

/// Leaves files that tell of which run they are.
const LEAVES_FILES: &str = "
import uuid
mark = uuid.uuid4().hex
for name in ['a', 'b', 'c', mark]:
    with open(output + '/' + name, 'w') as file: file.write(mark)
";

async fn world(step: &str, fault: Fault) {
    let roles = Roles::new().await;
    let (_api, alice) = roles.api();
    let job = alice.run(&format!("{INSTANT}\n{LEAVES_FILES}")).await;
    let worker = faulty(&roles, "faulty", step, fault);
    met(&roles, "faulty", step).await;
    let _well = (!fault.is_lived_through()).then(|| roles.worker("well", roles.lease));
    alice.wait_for(&job, "completed").await;
    wake(&worker);
    flawless(&roles).await;

    let list = alice.get(&format!("/jobs/{job}/artifacts")).await.body;
    assert_eq!(list["count"], 5, "{step}, {fault:?}: {list:#}");
    let digest = |path: &str| {
        let files = list["artifacts"].as_array().expect("a list");
        files.iter().find(|file| file["path"] == path).map_or(Value::Null, |file| file["sha256"].clone())
    };
    let mark =
        alice.request(reqwest::Method::GET, &format!("/jobs/{job}/artifacts/a")).send().await.expect("an answer");
    let mark = mark.text().await.expect("a mark");
    for path in ["b", "c", &mark] {
        assert_eq!(digest(path), digest("a"), "{step}, {fault:?}: {list:#}");
    }
}

steps! {
    world:
    before_artifacts_are_staged = "artifacts.stage",
    before_artifacts_are_published = "artifacts.publish.before",
    after_artifacts_are_published = "artifacts.publish.after",
    before_their_job_s_end_is_recorded = "commit.job.completed.before",
}
