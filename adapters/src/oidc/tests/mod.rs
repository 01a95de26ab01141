use std::time::Duration;

use events::ports::{Identity, IdentityError, IdentityPort};
use serde_json::{Value, json};

use super::verifier::unix_now;
use super::{Oidc, OidcOptions};

mod attacks;
mod code_flow;
mod provider;
mod rotation;
mod signer;

use provider::Provider;
use signer::{Signer, token};

/// An adapter for this provider.
fn oidc(provider: &Provider) -> Oidc {
    Oidc::new(&options(&provider.issuer())).unwrap()
}

fn options(issuer: &str) -> OidcOptions {
    OidcOptions {
        issuer: issuer.to_owned(),
        audience: "board".to_owned(),
        user_claim: "sub".to_owned(),
        admin_claim: Some("groups=admins".to_owned()),
        client: None,
    }
}

/// Claims that are valid now.
fn claims(issuer: &str) -> Value {
    json!({ "iss": issuer, "aud": "board", "sub": "ann", "exp": unix_now() + 300.0, "groups": ["admins"] })
}

fn user(verified: Result<Identity, IdentityError>) -> String {
    match verified {
        Ok(identity) => format!("{} admin={}", identity.user, identity.is_admin),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn every_algorithm_with_a_public_key_is_accepted() {
    let signers = [Signer::rsa(), Signer::p256(), Signer::p384(), Signer::ed25519()];
    let set = signers.iter().zip(["rsa", "p256", "p384", "ed"]).map(|(signer, kid)| signer.jwk(kid)).collect();
    let provider = Provider::start(set).await;
    let oidc = oidc(&provider);
    for (signer, kid, algorithms) in [
        (&signers[0], "rsa", &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"][..]),
        (&signers[1], "p256", &["ES256"]),
        (&signers[2], "p384", &["ES384"]),
        (&signers[3], "ed", &["EdDSA"]),
    ] {
        for algorithm in algorithms {
            for header in [
                json!({ "alg": algorithm, "kid": kid }),
                json!({ "alg": algorithm, "kid": kid, "typ": "JWT" }),
                json!({ "alg": algorithm, "kid": kid, "typ": "application/at+jwt", "x5t": "x", "b64": true }),
            ] {
                let token = token(signer, &header, &claims(&provider.issuer()));
                assert_eq!(user(oidc.verify(&token).await), "oidc:ann admin=true", "{header}");
            }
        }
    }
    let token = token(&signers[3], &json!({ "alg": "EdDSA", "kid": "ed" }), &claims(&provider.issuer()));
    let valid_for = oidc.verify(&token).await.unwrap().valid_for;
    assert!(valid_for > Duration::from_mins(5) && valid_for <= Duration::from_mins(6), "{valid_for:?}");
    assert_eq!(provider.asked(), 1);
}

#[tokio::test]
async fn a_token_without_the_name_of_its_key_is_accepted_if_only_one_fits() {
    let (rsa, ed, other) = (Signer::rsa(), Signer::ed25519(), Signer::ed25519());
    let provider = Provider::start(vec![rsa.jwk("rsa"), ed.jwk("ed")]).await;
    let nameless =
        |signer: &Signer, algorithm: &str| token(signer, &json!({ "alg": algorithm }), &claims(&provider.issuer()));
    let verifier = oidc(&provider);
    assert_eq!(user(verifier.verify(&nameless(&rsa, "RS256")).await), "oidc:ann admin=true");
    assert_eq!(user(verifier.verify(&nameless(&ed, "EdDSA")).await), "oidc:ann admin=true");
    provider.publish(vec![ed.jwk("ed"), other.jwk("other")]);
    let verifier = oidc(&provider);
    let ambiguous = "the token does not name its key, and the provider has several";
    assert_eq!(user(verifier.verify(&nameless(&ed, "EdDSA")).await), ambiguous);
}

#[test]
fn an_issuer_that_others_could_be_is_refused() {
    for bad in [
        "",
        "accounts.example",
        "http://accounts.example",
        "ftp://127.0.0.1",
        "https://a:hunter2@accounts.example",
        "https://accounts.example?hunter2",
        "https://accounts.example#hunter2",
    ] {
        let refused = Oidc::new(&options(bad)).unwrap_err().to_string();
        assert!(refused.starts_with("OIDC_ISSUER ") && !refused.contains("hunter2"), "{bad}: {refused}");
    }
    for good in ["http://localhost:9400", "http://127.0.0.1:9400/realm", "http://[::1]:1"] {
        assert!(Oidc::new(&options(good)).is_ok(), "{good}");
    }
}
