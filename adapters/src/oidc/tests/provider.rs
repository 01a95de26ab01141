//! A provider with a configuration and a key set, and no more.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

pub(super) struct Provider {
    address: String,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

/// What it answers.
#[derive(Clone)]
struct State {
    configuration: Value,
    set: Vec<u8>,
    status: &'static str,
    asked: usize,
    exchange: (&'static str, Value),
    exchanged: String,
}

impl Provider {
    /// Starts one with these keys.
    pub(super) async fn start(keys: Vec<Value>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let configuration = json!({ "issuer": address, "jwks_uri": format!("{address}/keys") });
        let set = json!({ "keys": keys }).to_string().into_bytes();
        let state = Arc::new(Mutex::new(State {
            configuration,
            set,
            status: "200 OK",
            asked: 0,
            exchange: ("400 Bad Request", json!({})),
            exchanged: String::new(),
        }));
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move { answer(stream, &shared).await });
            }
        });
        Self { address, state, serving }
    }

    pub(super) fn issuer(&self) -> String {
        self.address.clone()
    }

    /// How often it was asked for its configuration.
    pub(super) fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }

    pub(super) fn publish(&self, keys: Vec<Value>) {
        self.publish_bytes(json!({ "keys": keys }).to_string().into_bytes());
    }

    pub(super) fn publish_bytes(&self, set: Vec<u8>) {
        self.state.lock().unwrap().set = set;
    }

    pub(super) fn configure(&self, name: &str, value: Value) {
        self.state.lock().unwrap().configuration[name] = value;
    }

    /// Answers the next exchanges of a code in this way.
    pub(super) fn exchange(&self, status: &'static str, body: Value) {
        self.state.lock().unwrap().exchange = (status, body);
    }

    /// The last request for an exchange.
    pub(super) fn exchanged(&self) -> String {
        self.state.lock().unwrap().exchanged.clone()
    }

    pub(super) fn answer_with(&self, status: &'static str) {
        self.state.lock().unwrap().status = status;
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(mut stream: TcpStream, state: &Mutex<State>) {
    let mut request = vec![];
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if stream.read_exact(&mut byte).await.is_err() {
            return;
        }
        request.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&request).into_owned();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut form = vec![0; length];
    if stream.read_exact(&mut form).await.is_err() {
        return;
    }
    let (status, body) = {
        let mut state = state.lock().unwrap();
        if request.starts_with(b"GET /.well-known/openid-configuration ") {
            state.asked += 1;
            (state.status, state.configuration.to_string().into_bytes())
        } else if request.starts_with(b"POST /token_endpoint ") {
            state.exchanged = head + &String::from_utf8_lossy(&form);
            (state.exchange.0, state.exchange.1.to_string().into_bytes())
        } else {
            (state.status, state.set.clone())
        }
    };
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
}
