//! Keys that come and go, and a provider that is away.

use super::*;

/// Lets time pass for the adapter, and not for its sockets.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

fn named(signer: &Signer, kid: &str, provider: &Provider) -> String {
    token(signer, &json!({ "alg": "EdDSA", "kid": kid }), &claims(&provider.issuer()))
}

const ANN: &str = "oidc:ann admin=true";
const UNKNOWN: &str = "the token is signed by no key of the provider";

#[tokio::test]
async fn a_new_key_is_learned_and_an_old_one_is_forgotten() {
    let (old, new) = (Signer::ed25519(), Signer::ed25519());
    let provider = Provider::start(vec![old.jwk("old")]).await;
    let oidc = oidc(&provider);
    assert_eq!(user(oidc.verify(&named(&old, "old", &provider)).await), ANN);
    provider.publish(vec![new.jwk("new")]);
    later(Duration::from_secs(31)).await;
    assert_eq!(user(oidc.verify(&named(&new, "new", &provider)).await), ANN);
    assert_eq!(user(oidc.verify(&named(&old, "old", &provider)).await), UNKNOWN);
    // Another key of the same name, as of a provider that was set up anew.
    provider.publish(vec![old.jwk("new")]);
    later(Duration::from_secs(31)).await;
    assert_eq!(user(oidc.verify(&named(&old, "new", &provider)).await), ANN);
    assert_eq!(provider.asked(), 3);
}

#[tokio::test]
async fn unknown_keys_make_the_server_ask_seldom() {
    let (known, stranger) = (Signer::ed25519(), Signer::ed25519());
    let provider = Provider::start(vec![known.jwk("known")]).await;
    let oidc = oidc(&provider);
    let tokens: Vec<String> = (0..50).map(|number| named(&stranger, &format!("x{number}"), &provider)).collect();
    for told in futures::future::join_all(tokens.iter().map(|token| oidc.verify(token))).await {
        assert_eq!(user(told), UNKNOWN);
    }
    // A token that could not be valid anyhow does not count at all.
    later(Duration::from_secs(31)).await;
    let foreign = token(&stranger, &json!({ "alg": "EdDSA", "kid": "y" }), &claims("https://elsewhere.example"));
    assert_eq!(user(oidc.verify(&foreign).await), "the token is of another issuer");
    assert_eq!(provider.asked(), 1);
    assert_eq!(user(oidc.verify(&tokens[0]).await), UNKNOWN);
    assert_eq!(provider.asked(), 2);
}

#[tokio::test]
async fn while_the_provider_is_away_known_keys_go_on_and_unknown_ones_can_not_be_judged() {
    let (known, new) = (Signer::ed25519(), Signer::ed25519());
    let provider = Provider::start(vec![known.jwk("known")]).await;
    let oidc = oidc(&provider);
    provider.answer_with("503 Service Unavailable");
    assert!(oidc.warm_up().await.unwrap_err().ends_with("answers 503 Service Unavailable"));
    let told = oidc.verify(&named(&known, "known", &provider)).await.unwrap_err();
    assert!(matches!(told, IdentityError::Away(_)), "{told}");
    assert_eq!(provider.asked(), 1, "it was asked a moment ago");

    provider.answer_with("200 OK");
    later(Duration::from_secs(6)).await;
    assert_eq!(user(oidc.verify(&named(&known, "known", &provider)).await), ANN);
    provider.answer_with("500 Internal Server Error");
    later(Duration::from_hours(24)).await;
    assert_eq!(user(oidc.verify(&named(&known, "known", &provider)).await), ANN);
    let told = oidc.verify(&named(&new, "new", &provider)).await.unwrap_err();
    assert!(matches!(told, IdentityError::Away(_)), "{told}");
    let forged = oidc.verify(&named(&new, "known", &provider)).await.unwrap_err();
    assert_eq!(forged, IdentityError::Refused("the token's signature is wrong"));
}

#[tokio::test]
async fn what_is_no_configuration_or_no_key_set_leaves_the_keys() {
    let known = Signer::ed25519();
    let provider = Provider::start(vec![known.jwk("known")]).await;
    let verifier = oidc(&provider);
    verifier.warm_up().await.unwrap();
    let mut weak = Signer::rsa().jwk("weak");
    weak["n"] = json!(weak["n"].as_str().unwrap()[..171]);
    let sets = [
        b"{".to_vec(),
        b"[]".to_vec(),
        b"\xff".to_vec(),
        json!({ "keys": {} }).to_string().into_bytes(),
        json!({ "keys": [] }).to_string().into_bytes(),
        json!({ "keys": [1, { "kty": "oct", "k": "c2VjcmV0", "kid": "known" }, weak] }).to_string().into_bytes(),
        vec![b' '; 600_000],
    ];
    for set in sets {
        provider.publish_bytes(set);
        later(Duration::from_secs(31)).await;
        assert!(verifier.warm_up().await.is_err());
        assert_eq!(user(verifier.verify(&named(&known, "known", &provider)).await), ANN);
    }
    // Keys that can't be read do not hide the others.
    let secret = json!({ "kty": "RSA", "kid": "e", "use": "enc", "n": "AQAB", "e": "AQAB" });
    let odd = json!({ "kty": "EC", "crv": "secp256k1", "kid": "known", "x": "AA", "y": "AA" });
    provider.publish(vec![secret, odd, json!({ "kty": "RSA" }), json!(null), known.jwk("known")]);
    later(Duration::from_secs(31)).await;
    verifier.warm_up().await.unwrap();
    assert_eq!(user(verifier.verify(&named(&known, "known", &provider)).await), ANN);
    for (name, value, why) in
        [("issuer", json!("https://elsewhere.example"), "names itself"), ("issuer", json!(null), "names itself")]
    {
        provider.configure(name, value);
        later(Duration::from_secs(31)).await;
        let told = verifier.warm_up().await.unwrap_err();
        assert!(told.contains(why), "{told}");
    }
    provider.configure("issuer", json!(provider.issuer()));
    for uri in [json!(null), json!("http://keys.example/"), json!("file:///etc/passwd"), json!("/keys")] {
        provider.configure("jwks_uri", uri.clone());
        later(Duration::from_secs(31)).await;
        let told = verifier.warm_up().await.unwrap_err();
        assert!(told.starts_with("an address of the provider is not"), "{uri}: {told}");
    }
}
