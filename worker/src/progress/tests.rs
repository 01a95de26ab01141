//! Reports stay bounded for any output, and reach readers at a limited rate.

use std::sync::Mutex;

use async_trait::async_trait;
use events::ports::{Curve, PortError, ProgressReport, Shown, StageSeen, Stated};
use proptest::prelude::*;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep};

use super::lines::{Lines, Marker};
use super::series::MAX_POINTS;
use super::standing::{Part, Standing};
use super::*;

/// Pieces that an output may be made of.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    const WORDS: &[&str] =
        &["::progress ", "::metric ", "loss ", " step=", "0.5", "1e9", "-", "\n", "\r\n", "::", " ", "x", "é"];
    prop_oneof![
        4 => proptest::sample::select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        1 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => (0_u32..80, any::<f64>(), 0_u8..50)
            .prop_map(|(name, value, step)| format!("\n::metric m{name} {value} step={step}\n").into_bytes()),
        1 => (4_000_usize..4_200).prop_map(|many| vec![b'y'; many]),
    ]
}

proptest! {
    #[test]
    fn any_output_is_heard_alike_however_it_is_cut_and_stays_bounded(
        pieces in proptest::collection::vec(piece(), 0..300),
        cut in 1_usize..5_000,
    ) {
        let (mut as_it_came, mut otherwise) = (Lines::default(), Lines::default());
        let mut standing = Standing::default();
        let mut told = Vec::new();
        for piece in &pieces {
            told.extend(as_it_came.push(piece));
            prop_assert!(as_it_came.held_bytes() <= 4 << 10);
        }
        told.extend(as_it_came.finish());
        let mut again: Vec<Marker> = pieces.concat().chunks(cut).flat_map(|chunk| otherwise.push(chunk)).collect();
        again.extend(otherwise.finish());
        prop_assert_eq!(&told, &again);
        for marker in told {
            standing.hear(marker, Duration::ZERO);
        }
        let curves = standing.news(Part::All).and_then(|report| report.curves).unwrap_or_default();
        prop_assert!(curves.len() <= 50);
        for curve in curves {
            prop_assert!((1..=MAX_POINTS).contains(&curve.points.len()));
            prop_assert!(curve.points.windows(2).all(|pair| pair[0].0 < pair[1].0), "{:?}", curve);
        }
    }
}

/// Keeps what is reported and when, and answers as it is told to.
struct Screen(Instant, Mutex<Vec<(Duration, ProgressReport)>>, fn(usize) -> Result<Shown, PortError>);

#[async_trait]
impl ProgressPort for Screen {
    async fn report(&self, _: JobId, _: &Fence, report: &ProgressReport) -> Result<Shown, PortError> {
        let mut reports = self.1.lock().unwrap();
        reports.push((self.0.elapsed(), report.clone()));
        self.2(reports.len())
    }

    async fn progress(&self, _: JobId, _: &Fence) -> Result<Option<Stated>, PortError> {
        Ok(None)
    }

    async fn stage(&self, _: JobId, _: &Fence) -> Result<Option<StageSeen>, PortError> {
        Ok(None)
    }

    async fn curves(&self, _: JobId, _: &Fence) -> Result<Vec<Curve>, PortError> {
        Ok(Vec::new())
    }
}

impl Screen {
    fn reports(&self) -> Vec<(Duration, ProgressReport)> {
        self.1.lock().unwrap().clone()
    }
}

fn begin(answer: fn(usize) -> Result<Shown, PortError>) -> (RunProgress, Arc<Screen>) {
    let (job, fence) = ("0192f1c3a4b57c6d8e9fa0b1c2d3e4f6", "00112233445566778899aabb");
    let screen = Arc::new(Screen(Instant::now(), Mutex::default(), answer));
    (RunProgress::begin(screen.clone(), job.parse().unwrap(), fence.parse().unwrap()), screen)
}

async fn print(progress: &RunProgress, output: &str) {
    let mut read = String::new();
    progress.tee(output.as_bytes()).read_to_string(&mut read).await.unwrap();
    assert_eq!(read, output, "nothing is changed");
}

fn message(report: &ProgressReport) -> Option<&str> {
    report.progress.as_ref().map(|progress| progress.message.as_str())
}

#[tokio::test(start_paused = true)]
async fn the_first_is_told_at_once_the_next_after_a_second_and_the_last_without_waiting() {
    let (progress, screen) = begin(|_| Ok(Shown::Yes));
    print(&progress, "::progress 0.1 first\n").await;
    sleep(Duration::from_millis(1)).await;
    for n in 0..100 {
        print(&progress, &format!("::progress 0.2 number {n}\n::metric n {n} step={n}\n")).await;
        sleep(Duration::from_millis(10)).await;
    }
    print(&progress, "::progress 1 no newline").await;
    progress.close().await;
    let reports = screen.reports();
    let told: Vec<_> = reports.iter().map(|(at, report)| (at.as_millis(), message(report))).collect();
    assert_eq!(told, [(0, Some("first")), (1000, Some("number 99")), (1001, Some("no newline"))]);
    assert_eq!(reports[1].1.curves.as_ref().map(|curves| curves[0].points.len()), Some(100));
    assert_eq!(reports[2].1.curves, None, "no news");
}

#[tokio::test(start_paused = true)]
async fn what_is_told_again_is_no_news_and_long_curves_are_told_less_often() {
    let (progress, screen) = begin(|_| Ok(Shown::Yes));
    for round in 0..60 {
        let flood = (0..12_000).map(|n| format!("::metric m{} {n} step={}\n", n % 60, round * 200 + n / 60));
        print(&progress, &flood.collect::<String>()).await;
        print(&progress, "::progress 0.5 same\n").await;
        sleep(Duration::from_millis(500)).await;
    }
    progress.close().await;
    let reports = screen.reports();
    assert!((2..=5).contains(&reports.len()), "{} reports in 30 s", reports.len());
    assert_eq!(reports.iter().filter(|(_, report)| report.progress.is_some()).count(), 1);
    let curves = reports.last().unwrap().1.curves.as_ref().unwrap();
    assert_eq!(curves.len(), 50);
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_waited_out_and_a_refusal_is_not() {
    let (progress, screen) = begin(|reports| match reports {
        1 => Err(PortError::Unavailable("away".into())),
        2 => Ok(Shown::Yes),
        _ => Ok(Shown::Refused),
    });
    print(&progress, "::progress 0.1 kept\n").await;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(screen.reports().iter().map(|(_, report)| message(report)).collect::<Vec<_>>(), [Some("kept"); 2]);
    for n in 0..5 {
        print(&progress, &format!("::progress 0.2 {n}\n")).await;
        sleep(Duration::from_secs(2)).await;
    }
    progress.close().await;
    assert_eq!(screen.reports().len(), 3);
}
