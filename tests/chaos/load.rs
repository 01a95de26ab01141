//! The clients: they ask for jobs, keep their own list of what they were answered, and cancel some.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use leadersboard_tests::client::{Client, files};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::log::Follower;
use crate::programs::{self, Cancel, plan};
use crate::settings::Settings;

const CLIENTS: usize = 8;
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// A job that was answered by 202.
#[derive(Debug, Clone)]
pub(crate) struct Accepted {
    pub(crate) job: String,
    /// Its program, by its place in [`programs::all`].
    pub(crate) program: usize,
    /// Whether its end was asked for, answered or not.
    pub(crate) cancelled: bool,
}

/// What clients were answered.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    /// Answered by 202.
    pub(crate) accepted: Vec<Accepted>,
    /// Answered by 503, by nothing, or by half an answer: accepted or not.
    pub(crate) cut_away: usize,
    /// Answered by anything else, which is a mistake.
    pub(crate) refused: Vec<String>,
}

/// The clients of a campaign.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    settings: Settings,
    client: Client,
    log: Follower,
    submissions: Arc<Vec<String>>,
    next: Arc<AtomicUsize>,
    answers: Arc<Mutex<Answers>>,
}

impl Load {
    /// Uploads the programs, while nothing breaks yet.
    pub(crate) async fn prepare(settings: Settings, client: Client, log: Follower) -> Self {
        let mut submissions = Vec::new();
        for program in programs::all() {
            submissions.push(client.submit(&program).await);
        }
        let (next, answers) = Default::default();
        Self { settings, client, log, submissions: Arc::new(submissions), next, answers }
    }

    /// How many jobs were accepted so far.
    pub(crate) fn accepted(&self) -> usize {
        self.with_answers(|answers| answers.accepted.len())
    }

    /// What was answered, at the end.
    pub(crate) fn answers(&self) -> Answers {
        self.with_answers(std::mem::take)
    }

    fn with_answers<T>(&self, look: impl FnOnce(&mut Answers) -> T) -> T {
        look(&mut self.answers.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Asks for jobs until enough were accepted and every cancel was sent.
    pub(crate) async fn run(self) {
        let began = Instant::now();
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            clients.spawn(self.clone().one_client(began));
        }
        clients.join_all().await;
    }

    async fn one_client(self, began: Instant) {
        let mut cancels = JoinSet::new();
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            if number >= self.settings.jobs {
                break;
            }
            self.turn(began, number).await;
            let plan = plan(self.settings.seed, number);
            let job = self.submit(plan.program).await;
            let accepted = Accepted { job: job.clone(), program: plan.program, cancelled: plan.cancel.is_some() };
            self.with_answers(|answers| answers.accepted.push(accepted));
            if let Some(cancel) = plan.cancel {
                cancels.spawn(self.clone().cancel(job, cancel));
            }
            while cancels.try_join_next().is_some() {}
        }
        cancels.join_all().await;
    }

    /// Waits for a job's turn: they are spread over the campaign, and so many may be open at once.
    async fn turn(&self, began: Instant, number: usize) {
        let share = number as f64 / self.settings.jobs as f64;
        sleep_until(began + self.settings.duration.mul_f64(share)).await;
        while self.log.told().open.len() >= self.settings.open_limit {
            sleep(PAUSE).await;
        }
    }

    /// Asks for a job until one is accepted; once in a while with an upload of its own.
    async fn submit(&self, program: usize) -> String {
        loop {
            let id = &self.submissions[program];
            let request = self.client.request(Method::POST, "/jobs").json(&json!({ "submission_id": id }));
            match answer(request).await {
                Some((202, body)) if body["job_id"].is_string() => {
                    return body["job_id"].as_str().unwrap_or_default().to_owned();
                }
                None | Some((503, _)) => self.with_answers(|answers| answers.cut_away += 1),
                Some((status, body)) => self.with_answers(|answers| answers.refused.push(format!("{status}: {body}"))),
            }
            sleep(PAUSE).await;
            self.upload_again(program).await;
        }
    }

    /// Uploads a program in the middle of whatever breaks. It may come to nothing.
    async fn upload_again(&self, program: usize) {
        let form = files(&[("main.py", &programs::all()[program]), ("config.yaml", "seed: 1\n")]);
        let answer = answer(self.client.request(Method::POST, "/submissions").multipart(form)).await;
        if let Some((status, body)) = answer.filter(|(status, _)| ![201, 503].contains(status)) {
            self.with_answers(|answers| answers.refused.push(format!("{status}: {body}")));
        }
    }

    /// Asks for a job's end, again until it is heard.
    async fn cancel(self, job: String, cancel: Cancel) {
        sleep(cancel.after).await;
        let path = format!("/jobs/{job}/cancel");
        loop {
            let request = self.client.request(Method::POST, &path).json(&json!({ "force": cancel.force }));
            match answer(request).await {
                None | Some((503, _)) => sleep(PAUSE).await,
                // 409: it had ended before.
                Some((202 | 200 | 409, _)) => return,
                Some((status, body)) => {
                    self.with_answers(|answers| answers.refused.push(format!("cancel: {status}: {body}")));
                    return;
                }
            }
        }
    }
}

/// The answer to a request, if a whole one comes in time.
async fn answer(request: RequestBuilder) -> Option<(u16, Value)> {
    let answer = request.timeout(PATIENCE).send().await.ok()?;
    let status = answer.status().as_u16();
    let bytes = answer.bytes().await.ok()?;
    Some((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}
