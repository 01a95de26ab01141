//! Signing in at a real OpenID provider.

use adapters::oidc::{Oidc, OidcClient, OidcOptions, OidcSignIn};
use events::ports::{IdentityError, SignIn, SignInPort};
use leadersboard_tests::oidc::{OidcProvider, free_port};
use serde_json::json;

const BACK: &str = "http://127.0.0.1:1/sign-in";

#[tokio::test]
async fn a_browser_comes_back_with_a_code_that_counts_once_and_for_its_own_sign_in() {
    let provider = OidcProvider::start(free_port(), &[json!({ "sub": "ann", "groups": ["admins"] })]).await;
    let options = OidcOptions {
        issuer: provider.issuer().to_owned(),
        audience: "board".to_owned(),
        user_claim: "sub".to_owned(),
        admin_claim: Some("groups=admins".to_owned()),
        client: None,
    };
    let client = OidcClient { id: "page".to_owned(), secret: Some("s3cret".to_owned()) };
    let page = OidcSignIn::new(Oidc::new(&options).expect("valid settings"), client);
    let code_of = async |begun: &SignIn| {
        let back = provider.authorize(&begun.url, "ann").await;
        assert!(back.as_str().starts_with(BACK), "{back}");
        let told =
            |name: &str| back.query_pairs().find(|(other, _)| other == name).map(|(_, value)| value.into_owned());
        assert_eq!(told("state").as_ref(), Some(&begun.state));
        told("code").expect("a code")
    };
    let (begun, other) = (page.begin(BACK).await.expect("begun"), page.begin(BACK).await.expect("begun"));
    let code = code_of(&begun).await;
    let ann = page.finish(&begun, &code).await.expect("signed in");
    assert_eq!((ann.user.as_str(), ann.is_admin), ("oidc:ann", true));
    let again = page.finish(&begun, &code).await.expect_err("the code is spent");
    assert_eq!(again, IdentityError::Refused("the provider does not accept the code: sign in again"));
    let stolen = page.finish(&begun, &code_of(&other).await).await.expect_err("another's code");
    assert_eq!(stolen, IdentityError::Refused("the token was made for another sign-in"));
}
