//! The steps of removing what was kept for long enough.

use std::time::Duration;

use events::JobId;
use leadersboard_tests::age::age;
use leadersboard_tests::programs::INSTANT;
use leadersboard_tests::roles::Roles;
use leadersboard_tests::wait::until;

use crate::{Fault, PATIENCE, faulty, flawless, met, wake};

async fn world(step: &str, fault: Fault) {
    let roles = Roles::new().await;
    let migrated = roles.command(&["migrate", "--retention", "1s", "--submission-ttl", "1s"]).output();
    assert!(migrated.expect("it runs").status.success());
    let (_api, alice) = roles.api();
    let submission = alice.submit(INSTANT).await;
    let job = alice.enqueue(&submission, serde_json::json!({})).await;
    let first = faulty(&roles, "faulty", step, fault);
    met(&roles, "faulty", step).await;
    // Another finishes what the first began, where the first does not live on.
    let _second = roles.worker("well", roles.lease);
    let uploads = roles.data.path().join("uploads");
    let leaves_files = step == "commit.submission.expired.after" && !fault.is_lived_through();
    until("all is gone", PATIENCE, async || {
        let gone = [format!("/jobs/{job}"), format!("/submissions/{submission}")];
        let answers = futures::future::join_all(gone.iter().map(|path| alice.get(path))).await;
        let files_of_job = ["logs", "artifacts"].map(|folder| roles.data.path().join(folder).join(&job));
        let files = !leaves_files && uploads.join(&submission).exists();
        (answers.iter().all(|answer| answer.status == 404)
            && files_of_job.iter().all(|folder| !folder.exists())
            && !files)
            .then_some(())
    })
    .await;
    wake(&first);
    if leaves_files && fault == Fault::Kill {
        age(&uploads.join(&submission), Duration::from_hours(2));
    }
    until("the files are gone", PATIENCE, async || (!uploads.join(&submission).exists()).then_some(())).await;
    let folded = flawless(&roles).await;
    let id: JobId = job.parse().expect("an id");
    let ends = folded.stories[&id].iter().filter(|kind| **kind == "job.expired").count();
    assert_eq!((ends, folded.submissions.len()), (1, 0), "{step}, {fault:?}");
}

crate::steps! {
    world:
    before_artifacts_are_removed = "artifacts.delete",
    before_a_job_s_end = "commit.job.expired.before",
    after_a_job_s_end = "commit.job.expired.after",
    before_a_submission_s_end = "commit.submission.expired.before",
    after_a_submission_s_end = "commit.submission.expired.after",
}
