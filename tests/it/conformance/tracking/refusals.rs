//! A tracker that is away, broken, or closed to us is told from one that refuses a run, in a sentence with the cure.

use adapters::mlflow::Auth;
use events::ports::{RunStatus, TrackingError};
use leadersboard_tests::certificate::Certificate;
use leadersboard_tests::http_faults::{Call, Fault, HttpFaults};
use serde_json::json;

use super::{Site, end, small};

/// `printf 'ann:p@ss:word' | base64`
const ANN: &str = "Basic YW5uOnBAc3M6d29yZA==";

#[tokio::test]
async fn whatever_is_wrong_with_it_is_away_and_the_cure_is_named() {
    let site = Site::new().await;
    let port = site.port();
    port.check().await.expect("it is well");
    let wrong = [
        (Fault::Down, ""),
        (Fault::Broken, "500"),
        (Fault::HostCheck, "--allowed-hosts"),
        (Fault::Locked(ANN.to_owned()), "MLFLOW_TRACKING_USERNAME"),
    ];
    for (fault, cure) in wrong {
        site.network.set(fault.clone()).await;
        for answer in [port.check().await, port.record(&small()).await.map(drop)] {
            let Err(TrackingError::Away(why)) = answer else { panic!("{fault:?}: {answer:?}") };
            assert!(why.contains(cure), "{fault:?}: {why}");
        }
    }
    site.network.heal().await;
    port.check().await.expect("it is well again");
    assert_eq!(site.active().await, []);
}

#[tokio::test]
async fn an_account_or_a_token_opens_it_and_is_told_to_nobody() {
    let site = Site::new().await;
    site.network.set(Fault::Locked(ANN.to_owned())).await;
    let account = Auth::Basic { username: "ann".to_owned(), password: "p@ss:word".to_owned() };
    let in_address = site.network.address().replace("//", "//ann:p%40ss%3Aword@");
    for port in [site.port_with(|options| options.auth = account), site.port_with(|options| options.uri = in_address)] {
        port.check().await.expect("it is open");
        port.record(&small()).await.expect("recorded");
    }
    site.network.set(Fault::Locked("Bearer t0k3n".to_owned())).await;
    let token = site.port_with(|options| options.auth = Auth::Token("t0k3n".to_owned()));
    token.record(&small()).await.expect("recorded");

    let wrong = site.port_with(|options| options.auth = Auth::Token("s3cr3t".to_owned()));
    let Err(TrackingError::Away(why)) = wrong.check().await else { panic!("it is locked") };
    assert!(why.contains("401") && !why.contains("s3cr3t"), "{why}");
    site.network.heal().await;
    let read = site.mlflow.read_back().await;
    let told = format!("{read:?}");
    assert!(!["p@ss", "t0k3n", "s3cr3t", "ann:"].iter().any(|secret| told.contains(secret)), "{told}");
}

#[tokio::test]
async fn data_dropped_behind_a_good_answer_is_noticed_and_mended() {
    let site = Site::new().await;
    let port = site.port();
    let record = small();
    site.network.set(Fault::Swallow(Call::LogBatch)).await;
    let refused = port.record(&record).await.expect_err("nothing is kept");
    assert!(matches!(refused, TrackingError::Refused(_)), "{refused:?}");
    site.network.heal().await;
    let run = port.record(&record).await.expect("recorded");

    site.network.set(Fault::Swallow(Call::Update)).await;
    port.close(&run, &end(RunStatus::Finished)).await.expect_err("it is not closed");
    assert_eq!(site.active().await, [(run.run_id.clone(), "RUNNING".to_owned())]);
    site.network.heal().await;
    port.close(&run, &end(RunStatus::Finished)).await.expect("closed");
    let read = site.mlflow.read_back().await;
    read.only().assert_holds(&json!({ "params": { "lr": 0.1 }, "metrics": { "auc": 0.5, "loss": 2 } }));
    assert_eq!(read.only().status, "FINISHED");
}

#[tokio::test]
async fn a_run_that_somebody_deleted_is_not_closed_silently() {
    let site = Site::new().await;
    let port = site.port();
    let run = port.record(&small()).await.expect("recorded");
    port.delete(&run.run_id).await.expect("gone");
    port.close(&run, &end(RunStatus::Finished)).await.expect_err("it is gone");
}

#[tokio::test]
async fn a_certificate_is_taken_only_if_its_authority_is_known_or_none_is_asked_for() {
    let mut site = Site::new().await;
    let certificate = Certificate::new();
    site.network = HttpFaults::before_with_tls(site.mlflow.address(), &certificate);
    let Err(TrackingError::Away(why)) = site.port().check().await else { panic!("nobody knows the certificate") };
    assert!(why.contains("certificate"), "{why}");
    let authority = std::fs::read(certificate.authority()).expect("an authority");
    let strangers = std::fs::read(Certificate::new().authority()).expect("an authority");
    site.port_with(|options| options.ca = Some(strangers)).check().await.expect_err("another's authority");
    let known = site.port_with(|options| options.ca = Some(authority));
    known.check().await.expect("it is known");
    known.record(&small()).await.expect("recorded");
    site.port_with(|options| options.insecure_tls = true).check().await.expect("any is taken");
}
