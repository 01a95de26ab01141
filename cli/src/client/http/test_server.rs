//! A server of a few lines for tests: every request goes to one function.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::client::http::request::Client;
use crate::client::trust::Trust;

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// `GET /jobs?limit=20`
    pub(crate) line: String,
    /// The head in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Status, further header lines, body.
pub(crate) type Answer = (u16, &'static str, String);

/// Listens on a port of its own until dropped.
pub(crate) struct TestServer {
    pub(crate) url: String,
    requests: Arc<Mutex<Vec<Request>>>,
    task: JoinHandle<()>,
}

impl TestServer {
    pub(crate) async fn start(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, &seen, &answer).await;
            }
        });
        Self { url, requests, task }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url.parse().unwrap(), "secret", &Trust::Machine).unwrap()
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.line).collect()
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes whatever is sent, then says this much and nothing more.
pub(crate) async fn speaks_once(said: Vec<u8>) -> (Client, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let task = tokio::spawn(async move {
        let mut open = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (mut reader, mut writer) = stream.into_split();
            let said = said.clone();
            open.push(tokio::spawn(async move {
                let asked = tokio::io::AsyncReadExt::read_u8(&mut reader).await;
                let written = asked.map(drop).and(tokio::io::AsyncWriteExt::write_all(&mut writer, &said).await);
                let _ = tokio::io::copy(&mut reader, &mut tokio::io::sink()).await;
                drop((written, writer));
            }));
        }
    });
    (Client::new(&url.parse().unwrap(), "t", &Trust::Machine).unwrap(), task)
}

async fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Request>>, answer: &impl Fn(&Request) -> Answer) {
    let mut bytes = Vec::new();
    let (head_end, body_length) = loop {
        if stream.read_buf(&mut bytes).await.unwrap() == 0 {
            return;
        }
        let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok());
        break (end + 4, length.unwrap_or(0));
    };
    while bytes.len() < head_end + body_length {
        if stream.read_buf(&mut bytes).await.unwrap() == 0 {
            return;
        }
    }
    let head = String::from_utf8_lossy(&bytes[..head_end]).into_owned();
    let request = Request {
        line: head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned(),
        head: head.to_lowercase(),
        body: String::from_utf8_lossy(&bytes[head_end..]).into_owned(),
    };
    let (status, headers, body) = answer(&request);
    seen.lock().unwrap().push(request);
    let response =
        format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n{headers}\r\n{body}", body.len());
    stream.write_all(response.as_bytes()).await.unwrap();
}
