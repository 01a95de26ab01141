//! Which tokens a server accepts, and on which addresses.

use leadersboard_tests::board::{ALICE, Board, Finished, ROOT};
use leadersboard_tests::client::Client;
use leadersboard_tests::roles::Roles;

#[tokio::test]
async fn a_token_in_either_list_refuses_all_others() {
    let roles = Roles::new().await;
    roles.migrate(&[]);
    let (blank, admins) = (" ", format!("boss:{ROOT}"));
    for (users, admins) in [("", admins.as_str()), (blank, &admins), (&format!("alice:{ALICE}"), blank)] {
        let (_api, client) = roles.api_with("api", &[("API_TOKENS", users), ("ADMIN_TOKENS", admins)]);
        let stranger = Client::new(client.server(), "any-token-0123456789").get("/me").await;
        assert_eq!(stranger.status, 401, "{users:?} {admins:?}: {stranger:?}");
        let known = if admins == blank { ALICE } else { ROOT };
        assert_eq!(Client::new(client.server(), known).get("/me").await.status, 200, "{users:?} {admins:?}");
    }
}

#[tokio::test]
async fn without_tokens_the_api_listens_on_a_loopback_address_only() {
    let roles = Roles::new().await;
    roles.migrate(&[]);
    for (users, admins) in [("", ""), (" ", "\t"), (",", ""), ("", " ,")] {
        let mut api = roles.command(&["api", "--listen", "0.0.0.0:0"]);
        let api = api.env("API_TOKENS", users).env("ADMIN_TOKENS", admins).output();
        let Finished { code, stderr, .. } = Finished::of(api.expect("the binary runs"));
        assert_eq!(code, Some(2), "{users:?} {admins:?}: {stderr}");
        let why = if [users, admins].concat().contains(',') { "the token is empty" } else { "every token would be" };
        assert!(stderr.contains(why), "{users:?} {admins:?}: {stderr}");
    }
    let (_api, client) = roles.api_with("open", &[("API_TOKENS", " ")]);
    assert_eq!(client.get("/me").await.status, 200);
    assert!(roles.words("open").contains("every token is accepted"), "{}", roles.words("open"));
}

#[tokio::test]
async fn up_keeps_no_token_of_its_own_beside_those_that_were_given() {
    let data = tempfile::Builder::new().prefix("lb-up-").tempdir().expect("a temporary directory");
    std::fs::write(data.path().join("token"), "stale-token-0123456789\n").expect("it is empty");
    let admins = format!("boss:{ROOT}");
    let mut board = Board::start_in(data, None, &[("API_TOKENS", " "), ("ADMIN_TOKENS", &admins)]).await;
    assert!(!board.data().join("token").exists());
    for (token, status) in [("stale-token-0123456789", 401), ("any-token", 401), (ROOT, 200)] {
        assert_eq!(Client::new(board.server(), token).get("/me").await.status, status, "{token}");
    }
    let file = std::fs::read_to_string(board.data().join("client.json")).expect("`up` leaves it");
    assert!(file.contains(ROOT));
    assert_eq!(board.stop(), Some(0), "{}", board.log());
}
