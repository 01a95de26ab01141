//! People who sign in through their browser.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use events::ports::SignInPort;
use reqwest::Url;
use sha2::{Digest, Sha256};

use super::super::{OidcClient, OidcSignIn};
use super::*;

const BACK: &str = "https://lb.example/sign-in?x=1";

async fn provider(ed: &Signer) -> Provider {
    let provider = Provider::start(vec![ed.jwk("ed")]).await;
    for name in ["authorization_endpoint", "token_endpoint"] {
        provider.configure(name, json!(format!("{}/{name}", provider.issuer())));
    }
    provider
}

fn sign_in_at(provider: &Provider, secret: Option<&str>) -> OidcSignIn {
    OidcSignIn::new(oidc(provider), OidcClient { id: "the page".to_owned(), secret: secret.map(str::to_owned) })
}

#[tokio::test]
async fn a_browser_is_sent_to_the_provider_with_secrets_of_its_own() {
    let ed = Signer::ed25519();
    let provider = provider(&ed).await;
    let page = sign_in_at(&provider, None);
    let (one, other) = (page.begin(BACK).await.unwrap(), page.begin(BACK).await.unwrap());
    let url: Url = one.url.parse().unwrap();
    assert!(one.url.starts_with(&format!("{}/authorization_endpoint?", provider.issuer())), "{}", one.url);
    let query = |name: &str| url.query_pairs().find(|(other, _)| other == name).unwrap().1.into_owned();
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&one.verifier));
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "the page"),
        ("redirect_uri", BACK),
        ("state", &one.state),
        ("nonce", &one.nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(query(name), value, "{name}");
    }
    assert!(query("scope").split(' ').any(|scope| scope == "openid"));
    assert!(!one.url.contains(&one.verifier) && (43..=128).contains(&one.verifier.len()));
    let secrets = [&one.state, &one.nonce, &one.verifier, &other.state, &other.nonce, &other.verifier];
    for (at, secret) in secrets.iter().enumerate() {
        assert!(secret.len() == 64 && !secrets[at + 1..].contains(secret), "{secrets:?}");
        assert!(!format!("{one:?}").contains(*secret));
    }
}

#[tokio::test]
async fn a_code_is_exchanged_for_the_token_of_this_sign_in() {
    let ed = Signer::ed25519();
    let provider = provider(&ed).await;
    let page = sign_in_at(&provider, Some("hunter:2 é"));
    let begun = page.begin(BACK).await.unwrap();
    let finish = async |changes: Value| {
        let mut claims = claims(&provider.issuer());
        (claims["aud"], claims["nonce"]) = (json!("the page"), json!(begun.nonce));
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let token = token(&ed, &json!({ "alg": "EdDSA", "kid": "ed" }), &claims);
        provider.exchange("200 OK", json!({ "id_token": token, "access_token": "x", "token_type": "Bearer" }));
        user(page.finish(&begun, "c&=de").await)
    };
    let ann = "oidc:ann admin=true";
    assert_eq!(finish(json!({})).await, ann);
    let request = provider.exchanged();
    for field in ["grant_type=authorization_code", "code=c%26%3Dde", "client_id=the%20page"] {
        assert!(request.contains(field), "{field}: {request}");
    }
    assert!(request.contains(&format!("code_verifier={}", begun.verifier)), "{request}");
    let account = BASE64_STANDARD.encode("the%20page:hunter%3A2%20%C3%A9");
    assert!(
        request.contains(&format!("authorization: Basic {account}")) && !request.contains("client_secret"),
        "{request}"
    );

    assert_eq!(finish(json!({ "aud": ["the page", "x"], "azp": "the page" })).await, ann);
    for (changes, why) in [
        (json!({ "nonce": "another" }), "another sign-in"),
        (json!({ "nonce": null }), "another sign-in"),
        (json!({ "nonce": [begun.nonce] }), "another sign-in"),
        (json!({ "aud": "board" }), "audience"),
        (json!({ "aud": ["the page", "x"] }), "another client"),
        (json!({ "azp": "x" }), "another client"),
        (json!({ "exp": 1 }), "expired"),
    ] {
        let told = finish(changes.clone()).await;
        assert!(told.contains(why), "{changes}: {told}");
    }
}

#[tokio::test]
async fn a_code_that_is_not_accepted_is_told_from_a_provider_that_does_not_work() {
    let ed = Signer::ed25519();
    let provider = provider(&ed).await;
    provider.configure("token_endpoint_auth_methods_supported", json!(["client_secret_post"]));
    let page = sign_in_at(&provider, Some("hunter2"));
    let begun = page.begin(BACK).await.unwrap();
    let finish = async |status: &'static str, body: Value| {
        provider.exchange(status, body);
        page.finish(&begun, "code").await.unwrap_err()
    };
    let spent = finish("400 Bad Request", json!({ "error": "invalid_grant" })).await;
    assert!(matches!(spent, IdentityError::Refused(why) if why.contains("sign in again")), "{spent}");
    assert!(provider.exchanged().contains("client_secret=hunter2"));
    for (status, body) in [
        ("401 Unauthorized", json!({ "error": "invalid_client" })),
        ("500 Internal Server Error", json!({})),
        ("200 OK", json!([])),
    ] {
        let told = finish(status, body).await;
        assert!(matches!(&told, IdentityError::Away(why) if !why.contains("hunter2")), "{status}: {told}");
    }
    let no_token = finish("200 OK", json!({ "access_token": "x" })).await;
    assert!(matches!(no_token, IdentityError::Refused(_)), "{no_token}");
    for endpoint in [json!(null), json!("http://evil.example/"), json!("javascript:alert(1)")] {
        let other = Provider::start(vec![ed.jwk("ed")]).await;
        other.configure("authorization_endpoint", endpoint.clone());
        let told = sign_in_at(&other, None).begin(BACK).await.unwrap_err();
        assert!(matches!(told, IdentityError::Away(_)), "{endpoint}: {told}");
    }
}
