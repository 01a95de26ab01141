//! Tokens that nobody may get in with.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE;
use ring::hmac;

use super::signer::{base64, raw};
use super::*;

/// Verifies each token at one provider with these keys: none is accepted.
async fn all_are_refused(provider: &Provider, attacks: Vec<(&str, String, &str)>) {
    let oidc = oidc(provider);
    for (name, token, why) in attacks {
        match oidc.verify(&token).await {
            Err(IdentityError::Refused(told)) => assert!(told.contains(why), "{name}: {told}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_token_without_a_signature_of_the_provider_is_refused() {
    let (rsa, p256, ed, stranger) = (Signer::rsa(), Signer::p256(), Signer::ed25519(), Signer::ed25519());
    let elsewhere = Provider::start(vec![stranger.jwk("ed")]).await;
    let mut pinned = rsa.jwk("pinned");
    pinned["alg"] = json!("RS512");
    let provider = Provider::start(vec![rsa.jwk("rsa"), p256.jwk("p256"), ed.jwk("ed"), pinned]).await;
    let claims = claims(&provider.issuer());
    let text = claims.to_string();
    let of = |signer: &Signer, header: Value| token(signer, &header, &claims);
    let right = of(&ed, json!({ "alg": "EdDSA", "kid": "ed" }));
    let (message, _) = right.rsplit_once('.').unwrap();

    let mut attacks = vec![];
    for none in ["none", "None", "NONE", "nOnE", ""] {
        let header = base64(json!({ "alg": none, "kid": "ed" }).to_string().as_bytes());
        attacks.push(("none", format!("{header}.{}.", base64(text.as_bytes())), "algorithm is not accepted"));
    }
    // What a server could take for the secret: the modulus, the whole key, the key as it is published.
    for (algorithm, hash) in [("HS256", hmac::HMAC_SHA256), ("HS384", hmac::HMAC_SHA384), ("HS512", hmac::HMAC_SHA512)]
    {
        let jwk = rsa.jwk("rsa");
        for secret in [jwk["n"].as_str().unwrap().as_bytes(), jwk.to_string().as_bytes(), b""] {
            let header = json!({ "alg": algorithm, "kid": "rsa" }).to_string();
            let message = format!("{}.{}", base64(header.as_bytes()), base64(text.as_bytes()));
            let signature = hmac::sign(&hmac::Key::new(hash, secret), message.as_bytes());
            attacks.push((algorithm, format!("{message}.{}", base64(signature.as_ref())), "algorithm is not accepted"));
        }
    }
    let signature = "signature is wrong";
    let unknown = "signed by no key";
    attacks.extend([
        ("another's key", of(&stranger, json!({ "alg": "EdDSA", "kid": "ed" })), signature),
        ("no signature", format!("{message}."), signature),
        ("zeros", format!("{message}.{}", base64(&[0; 64])), signature),
        (
            "a curve's point at zero",
            {
                let header = base64(json!({ "alg": "ES256", "kid": "p256" }).to_string().as_bytes());
                format!("{header}.{}.{}", base64(text.as_bytes()), base64(&[0; 64]))
            },
            signature,
        ),
        (
            "other claims",
            right.replacen(&base64(text.as_bytes()), &base64(text.replace("ann", "eve").as_bytes()), 1),
            signature,
        ),
        ("padding", format!("{message}.{}=", base64(&ed.sign("EdDSA", message.as_bytes()))), signature),
        (
            "padded claims",
            right.replacen(&base64(text.as_bytes()), &format!("{}==", base64(text.as_bytes())), 1),
            "claims can't be read",
        ),
        // The key of one kind for the algorithm of another.
        ("ES256 with an Ed25519 key", of(&ed, json!({ "alg": "ES256", "kid": "ed" })), unknown),
        ("ES384 with a P-256 key", of(&p256, json!({ "alg": "ES384", "kid": "p256" })), unknown),
        ("RS256 with a P-256 key", of(&p256, json!({ "alg": "RS256", "kid": "p256" })), unknown),
        ("EdDSA with an RSA key", of(&rsa, json!({ "alg": "EdDSA", "kid": "rsa" })), unknown),
        ("RS256 with a key for RS512", of(&rsa, json!({ "alg": "RS256", "kid": "pinned" })), unknown),
        (
            "PS256 that is RS256",
            raw(&rsa, "RS256", &json!({ "alg": "PS256", "kid": "rsa" }).to_string(), text.as_bytes()),
            signature,
        ),
        (
            "RS256 with another hash",
            raw(&rsa, "RS512", &json!({ "alg": "RS256", "kid": "rsa" }).to_string(), text.as_bytes()),
            signature,
        ),
        ("no name, two RSA keys", of(&rsa, json!({ "alg": "RS512" })), "does not name its key"),
        ("another name", of(&ed, json!({ "alg": "EdDSA", "kid": "ED" })), unknown),
        ("an empty name", of(&ed, json!({ "alg": "EdDSA", "kid": "" })), unknown),
        ("a path as a name", of(&ed, json!({ "alg": "EdDSA", "kid": "../../dev/null" })), unknown),
        ("a number as a name", of(&ed, json!({ "alg": "EdDSA", "kid": 1 })), "name of the token's key is no text"),
        ("null as a name", of(&ed, json!({ "alg": "EdDSA", "kid": null })), "name of the token's key is no text"),
        // A key that the token brings itself.
        ("jwk", of(&stranger, json!({ "alg": "EdDSA", "kid": "ed", "jwk": stranger.jwk("ed") })), signature),
        (
            "jwk of another name",
            of(&stranger, json!({ "alg": "EdDSA", "kid": "x", "jwk": stranger.jwk("x") })),
            unknown,
        ),
        (
            "jku",
            of(&stranger, json!({ "alg": "EdDSA", "kid": "ed", "jku": format!("{}/keys", elsewhere.issuer()) })),
            signature,
        ),
        (
            "x5u",
            of(&stranger, json!({ "alg": "EdDSA", "kid": "ed", "x5u": format!("{}/keys", elsewhere.issuer()) })),
            signature,
        ),
        ("x5c", of(&stranger, json!({ "alg": "EdDSA", "kid": "ed", "x5c": ["MIIB"] })), signature),
    ]);
    all_are_refused(&provider, attacks).await;
    assert_eq!((provider.asked(), elsewhere.asked()), (1, 0), "nobody makes the server ask");
}

#[tokio::test]
async fn a_signed_token_of_another_meaning_is_refused() {
    let ed = Signer::ed25519();
    let provider = Provider::start(vec![ed.jwk("ed")]).await;
    let header = json!({ "alg": "EdDSA", "kid": "ed" });
    let with_header = |name: &str, value: Value| {
        let mut header = header.clone();
        header[name] = value;
        token(&ed, &header, &claims(&provider.issuer()))
    };
    let with_claim = |name: &str, value: Value| {
        let mut claims = claims(&provider.issuer());
        claims[name] = value;
        token(&ed, &header, &claims)
    };
    let with_text = |header: &str, claims: &[u8]| raw(&ed, "EdDSA", header, claims);
    let text = claims(&provider.issuer()).to_string();
    let right = with_text(&header.to_string(), text.as_bytes());
    let now = unix_now();
    let first = &text[..text.len() - 1];
    let attacks = vec![
        ("expired", with_claim("exp", json!(now - 61.0)), "expired"),
        ("exp as a text", with_claim("exp", json!((now + 300.0).to_string())), "not a number"),
        ("nbf as a text", with_claim("nbf", json!("0")), "not a number"),
        ("iat as a text", with_claim("iat", json!("0")), "not a number"),
        ("not yet valid", with_claim("nbf", json!(now + 120.0)), "not valid yet"),
        ("another audience", with_claim("aud", json!("boards")), "audience"),
        ("another issuer", with_claim("iss", json!(format!("{}/", provider.issuer()))), "issuer"),
        ("crit", with_header("crit", json!(["exp"])), "extension (crit)"),
        ("an empty crit", with_header("crit", json!([])), "extension (crit)"),
        ("b64 in crit", with_header("crit", json!(["b64"])), "extension (crit)"),
        ("unencoded claims", with_header("b64", json!(false)), "signature is wrong"),
        ("a logout token", with_header("typ", json!("logout+jwt")), "type is neither"),
        ("a bound token", with_header("typ", json!("dpop+jwt")), "type is neither"),
        ("a list as type", with_header("typ", json!(["JWT"])), "type is no text"),
        ("a list as algorithm", with_header("alg", json!(["EdDSA"])), "algorithm is not accepted"),
        ("two users", with_text(&header.to_string(), format!(r#"{first},"sub":"root"}}"#).as_bytes()), "there twice"),
        (
            "two users, one escaped",
            with_text(&header.to_string(), format!(r#"{first},"\u0073ub":"root"}}"#).as_bytes()),
            "there twice",
        ),
        ("two times", with_text(&header.to_string(), format!(r#"{first},"exp":1}}"#).as_bytes()), "there twice"),
        (
            "two algorithms",
            with_text(r#"{"alg":"EdDSA","kid":"ed","alg":"none"}"#, text.as_bytes()),
            "header can't be read",
        ),
        (
            "a time beyond numbers",
            with_text(&header.to_string(), text.replace("\"exp\":", "\"exp\":1e999,\"x\":").as_bytes()),
            "can't be read",
        ),
        ("no object", with_text(&header.to_string(), b"[]"), "can't be read"),
        ("no JSON", with_text(&header.to_string(), b"sub=ann"), "can't be read"),
        ("not UTF-8", with_text(&header.to_string(), b"{\"sub\":\"\xff\"}"), "can't be read"),
        (
            "deep",
            with_text(&header.to_string(), format!(r#"{{"sub":{}1"#, "[".repeat(9_000)).as_bytes()),
            "can't be read",
        ),
        ("huge", with_text(&header.to_string(), format!(r#"{{"sub":"{}"}}"#, "a".repeat(20_000)).as_bytes()), "16 KiB"),
        ("four parts", format!("{right}.x"), "three parts"),
        ("two parts", "a.b".to_owned(), "three parts"),
        ("nothing in three parts", "..".to_owned(), "header can't be read"),
        (
            "a header of another alphabet",
            right.replacen(&base64(header.to_string().as_bytes()), &BASE64_URL_SAFE.encode(b"{}"), 1),
            "header can't be read",
        ),
    ];
    all_are_refused(&provider, attacks).await;
    assert_eq!(user(oidc(&provider).verify(&right).await), "oidc:ann admin=true");
}
