//! People who sign in at an OpenID provider.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use leadersboard_tests::board::{ALICE, Board};
use leadersboard_tests::client::Client;
use leadersboard_tests::oidc::{OidcProvider, free_port};
use leadersboard_tests::programs::INSTANT;
use leadersboard_tests::wait::until;
use serde_json::{Value, json};

use super::all_is_well;

/// A token that nobody has signed.
fn unsigned(header: &Value, issuer: &str) -> String {
    let claims = json!({ "iss": issuer, "aud": "board", "sub": "ann", "exp": 4_000_000_000_u64 });
    let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{}", part(header), part(&claims), BASE64_URL_SAFE_NO_PAD.encode([0; 256]))
}

#[tokio::test]
async fn people_of_a_provider_have_names_of_their_own_and_its_groups_make_admins() {
    let port = free_port();
    let issuer = format!("http://127.0.0.1:{port}");
    let board = Board::start(&[
        ("OIDC_ISSUER", &issuer),
        ("OIDC_AUDIENCE", "board"),
        ("OIDC_ADMIN_CLAIM", "groups=leadersboard-admins"),
    ])
    .await;
    let client = |token: &str| Client::new(board.server(), token);

    // The provider is away: nobody can tell whether this is a token of its.
    let plausible = unsigned(&json!({ "alg": "RS256", "kid": "x" }), &issuer);
    let away = client(&plausible).get("/me").await;
    assert_eq!((away.status, away.body["code"].as_str()), (503, Some("provider_unavailable")), "{away:?}");
    assert!(away.retry_after.is_some(), "{away:?}");
    assert_eq!(client(ALICE).get("/me").await.body["user_id"], "alice");

    let ann = json!({ "sub": "ann", "groups": ["people"] });
    let root = json!({ "sub": "alice", "groups": ["people", "leadersboard-admins"] });
    let provider = OidcProvider::start(port, &[ann, root]).await;
    let ann = client(&provider.sign_in("ann", "board").await);
    let me = until("the provider is asked again", Duration::from_secs(20), async || {
        let me = ann.get("/me").await;
        assert!([200, 503].contains(&me.status), "{me:?}");
        (me.status == 200).then_some(me.body)
    })
    .await;
    assert_eq!((&me["user_id"], &me["role"]), (&json!("oidc:ann"), &json!("user")));

    // What is theirs is theirs alone, also if a token's user has the same name.
    let job = ann.run(INSTANT).await;
    ann.wait_for(&job, "completed").await;
    let of_ann = ann.get("/jobs").await.body;
    assert_eq!(of_ann["jobs"][0]["job_id"], json!(job), "{of_ann}");
    let namesake = client(&provider.sign_in("alice", "board").await);
    let me = namesake.get("/me").await.body;
    assert_eq!((&me["user_id"], &me["role"]), (&json!("oidc:alice"), &json!("admin")));
    assert_eq!(client(ALICE).get(&format!("/jobs/{job}")).await.status, 404);
    assert_eq!(namesake.get(&format!("/jobs/{job}")).await.body["user_id"], json!("oidc:ann"));
    assert_eq!(namesake.get("/jobs?user=oidc:ann").await.body["jobs"][0]["job_id"], json!(job));

    let refusals = [
        (provider.sign_in("ann", "another").await, "audience"),
        (plausible, "signed by no key"),
        (unsigned(&json!({ "alg": "none" }), &issuer), "algorithm is not accepted"),
        (unsigned(&json!({ "alg": "HS256" }), &issuer), "algorithm is not accepted"),
        (unsigned(&json!({ "alg": "RS256" }), &issuer), "signature is wrong"),
        (unsigned(&json!({ "alg": "RS256" }), "http://127.0.0.1:1"), "another issuer"),
    ];
    for (token, why) in refusals {
        let refused = client(&token).get("/me").await;
        assert!(refused.status == 401 && refused.detail().contains(why), "{why}: {refused:?}");
    }
    all_is_well(&board).await;
}
