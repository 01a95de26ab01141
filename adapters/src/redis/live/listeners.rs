//! Who in this process listens to what, and whether somebody reads it for them.
//!
//! Who listens has a short queue. One that runs over costs that listener a look for itself, and the reader nothing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::broadcast::{self, Receiver, Sender, error::RecvError};

/// What can be told: something, or that something was missed.
pub(crate) trait Tellable: Clone + Send + 'static {
    /// That something may have been missed.
    const MISSED: Self;
    /// How many of them wait for each who listens.
    const QUEUE: usize;
    /// What the reader keeps of each thing that is listened to.
    type Place: Clone + Send + 'static;
}

/// Who listens to what, by the name of the thing.
pub(crate) struct Listeners<Told: Tellable>(Mutex<Roll<Told>>);

pub(crate) struct Roll<Told: Tellable> {
    channels: HashMap<String, Channel<Told>>,
    reader: Reading,
    /// How many things have been added so far.
    additions: u64,
}

/// Whether there is a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Reading {
    #[default]
    Stopped,
    Runs,
}

struct Channel<Told: Tellable> {
    sender: Sender<Told>,
    listeners: usize,
    place: Told::Place,
}

impl<Told: Tellable> Default for Listeners<Told> {
    fn default() -> Self {
        Self(Mutex::new(Roll { channels: HashMap::new(), reader: Reading::default(), additions: 0 }))
    }
}

impl<Told: Tellable> Listeners<Told> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Roll<Told>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Listens to `name` from now on. If nobody did, the reader begins it at `place`.
    pub(crate) fn join(self: &Arc<Self>, name: String, place: Told::Place) -> Listener<Told> {
        let mut roll = self.lock();
        let Roll { channels, additions, .. } = &mut *roll;
        let channel = channels.entry(name.clone()).or_insert_with(|| {
            *additions += 1;
            Channel { sender: broadcast::channel(Told::QUEUE).0, listeners: 0, place }
        });
        channel.listeners += 1;
        Listener { listeners: Arc::clone(self), name, heard: channel.sender.subscribe() }
    }

    pub(crate) fn tell_all(&self, told: &Told) {
        // It fails only when nobody listens, and then nobody is to be told.
        self.lock().channels.values().for_each(|channel| drop(channel.sender.send(told.clone())));
    }

    /// Takes the reader off the roll if nobody listens: from then on the next who comes starts another.
    pub(crate) fn retire_reader(&self) -> bool {
        let mut roll = self.lock();
        let retires = roll.channels.is_empty();
        if retires {
            roll.reader = Reading::Stopped;
        }
        retires
    }
}

impl<Told: Tellable> Roll<Told> {
    pub(crate) fn reader_runs(&self) -> bool {
        self.reader == Reading::Runs
    }

    pub(crate) fn reader_begins(&mut self) {
        self.reader = Reading::Runs;
    }

    /// How many things have been added so far.
    pub(crate) fn additions(&self) -> u64 {
        self.additions
    }

    /// All that is listened to, and where the reader is in each.
    pub(crate) fn places(&self) -> impl Iterator<Item = (&String, &Told::Place)> {
        self.channels.iter().map(|(name, channel)| (name, &channel.place))
    }

    /// Notes where the reader is in a thing, if it is still listened to.
    pub(crate) fn move_to(&mut self, name: &str, place: Told::Place) {
        if let Some(channel) = self.channels.get_mut(name) {
            channel.place = place;
        }
    }

    /// Tells whoever listens to `name`; what is told is made only if somebody does.
    pub(crate) fn tell(&self, name: &str, told: impl FnOnce() -> Told) {
        if let Some(channel) = self.channels.get(name) {
            // It fails only when nobody listens, and then nobody is to be told.
            let _ = channel.sender.send(told());
        }
    }
}

/// One who listens.
pub(crate) struct Listener<Told: Tellable> {
    listeners: Arc<Listeners<Told>>,
    name: String,
    heard: Receiver<Told>,
}

impl<Told: Tellable> Listener<Told> {
    /// The next thing that is told. A call that is given up loses nothing.
    pub(crate) async fn next(&mut self) -> Told {
        match self.heard.recv().await {
            Ok(told) => told,
            // A channel stays open as long as somebody listens to it.
            Err(RecvError::Lagged(_) | RecvError::Closed) => Told::MISSED,
        }
    }
}

impl<Told: Tellable> Drop for Listener<Told> {
    fn drop(&mut self) {
        let mut roll = self.listeners.lock();
        if let Some(channel) = roll.channels.get_mut(&self.name) {
            channel.listeners -= 1;
            if channel.listeners == 0 {
                roll.channels.remove(&self.name);
            }
        }
    }
}
