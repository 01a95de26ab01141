//! Calls to a server that answers what a test wants, and shows what came.

use async_trait::async_trait;
use bytes::Bytes;
use events::ports::{ArtifactReader, PortError};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::super::error::CHANGED;
use super::*;
use crate::mlflow::http::wire::Done;

/// Takes one request, answers it once all that its head announces came, and gives what came until the other side is
/// done.
async fn server(answer: &'static str) -> (String, JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let came = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut came = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            let length = stream.read(&mut buffer).await.unwrap_or(0);
            came.extend_from_slice(&buffer[..length]);
            let text = String::from_utf8_lossy(&came).into_owned();
            if length == 0 {
                return text;
            }
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let announced = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() == announced.map_or(0, |length| length.parse().unwrap()) {
                stream.write_all(answer.as_bytes()).await.unwrap();
                return text;
            }
        }
    });
    (address, came)
}

fn client(uri: String, auth: Auth) -> Client {
    let (experiment, board) = ("e".to_owned(), "main".to_owned());
    Client::new(&MlflowOptions { uri, experiment, board, auth, ca: None, insecure_tls: false }).unwrap()
}

const OK: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";

struct File(Bytes);

#[async_trait]
impl ArtifactReader for File {
    async fn read(&mut self, max: usize) -> Result<Bytes, PortError> {
        Ok(self.0.split_to(max.min(self.0.len())))
    }
}

fn file(kept: &[u8], found: Vec<u8>) -> Source {
    let sha256 = hex::encode(Sha256::digest(kept));
    Source::file("plots/a.png".to_owned(), kept.len() as u64, sha256, Box::new(File(found.into())))
}

#[tokio::test]
async fn an_account_goes_out_as_a_header_and_is_in_no_address() {
    let (address, came) = server(OK).await;
    let _: Done = client(format!("http://ann:p%40ss@{address}/below/"), Auth::None)
        .get("runs/get", &[("run_id", "a b")])
        .await
        .unwrap();
    let came = came.await.unwrap();
    assert!(came.starts_with("GET /below/api/2.0/mlflow/runs/get?run_id=a+b HTTP/1.1\r\n"), "{came}");
    assert!(came.contains("authorization: Basic YW5uOnBAc3M=\r\n"), "{came}");
    let (address, came) = server(OK).await;
    let _: Done =
        client(format!("http://ann:pass@{address}"), Auth::Token("t".to_owned())).post("x", &[1]).await.unwrap();
    let came = came.await.unwrap();
    assert!(
        came.contains("authorization: Bearer t\r\n") && came.contains("content-type: application/json\r\n"),
        "{came}"
    );
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    let (elsewhere, untouched) = server(OK).await;
    let answer =
        format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: http://{elsewhere}/\r\ncontent-length: 0\r\n\r\n");
    let (address, _came) = server(answer.leak()).await;
    let refused = client(format!("http://ann:secret@{address}"), Auth::None).post::<Done>("runs/search", &[1]).await;
    let Err(CallError::Away(sentence)) = refused else { panic!("it was followed") };
    assert!(sentence.contains("MLFLOW_TRACKING_URI") && !sentence.contains("secret"), "{sentence}");
    assert!(!untouched.is_finished());
    untouched.abort();
}

#[tokio::test]
async fn nobody_there_is_told_without_the_account() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let refused = client(format!("http://ann:secret@{address}"), Auth::None).get::<Done>("runs/get", &[]).await;
    let Err(CallError::Away(sentence)) = refused else { panic!("somebody was there") };
    assert!(sentence.contains("runs/get") && !sentence.contains("secret"), "{sentence}");
}

#[tokio::test]
async fn a_file_goes_out_with_its_length_and_one_that_changed_never_to_its_end() {
    let kept = b"ten bytes.".repeat(100_000);
    let (address, came) = server(OK).await;
    let client_there = client(format!("http://{address}"), Auth::None);
    client_there.put(&["1", "r", "artifacts", "plots", "\u{e9} 1.png"], file(&kept, kept.clone())).await.unwrap();
    let came = came.await.unwrap();
    let path = "PUT /api/2.0/mlflow-artifacts/artifacts/1/r/artifacts/plots/%C3%A9%201.png HTTP/1.1\r\n";
    assert!(came.starts_with(path) && came.contains("content-length: 1000000\r\n"));
    assert!(!came.contains("transfer-encoding") && came.as_bytes().ends_with(&kept));

    let mut changed = kept.clone();
    changed[7] = b'!';
    let (address, came) = server(OK).await;
    let refused = client(format!("http://{address}"), Auth::None).put(&["1"], file(&kept, changed)).await;
    let refused = refused.expect_err("it is not what was kept");
    assert!(refused.is(CHANGED) && format!("{refused:?}").contains("plots/a.png"), "{refused:?}");
    let (_, body) =
        came.await.unwrap().split_once("\r\n\r\n").map(|(head, body)| (head.to_owned(), body.len())).unwrap();
    assert!(body < kept.len());
}

#[tokio::test]
async fn an_empty_file_is_a_file() {
    let (address, came) = server(OK).await;
    client(format!("http://{address}"), Auth::None).put(&["1"], file(b"", Vec::new())).await.unwrap();
    assert!(came.await.unwrap().contains("content-length: 0\r\n"));
}
