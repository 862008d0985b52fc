//! What is said over the control socket: one JSON document a line, a question and its answer.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::{
    allowlist::{Edited, Listing, Updated},
    events::{Event, Top},
    inventory::Inventory,
    status::Status,
};
use crate::scope::Scoped;

/// The most bytes a question may have. Whoever asks at greater length is hung up on.
pub const MAX_QUESTION: usize = 64 << 10;

/// The most bytes an answer may have: a list of all that the largest tables hold.
pub const MAX_ANSWER: usize = 64 << 20;

/// What a command asks of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Request {
    /// How the guard is.
    Status,
    /// Everything that is known of the time sources.
    Sources,
    /// Everything that is granted.
    List,
    /// Grant by hand.
    Add(Addition),
    /// Take back what was granted by hand.
    Remove(Removal),
    /// Read the sources and resolve the names now.
    Update,
    /// Who sends most of what is not admitted.
    Top,
    /// The packets that are told of, from now on: [`Reply::Following`], and then one
    /// [`Reply::Event`] or [`Reply::Missed`] after the other until the connection ends.
    Events,
    /// Leave the guard to a successor: change nothing any more. [`Reply::Yielding`] comes with the
    /// lock of the pin directory, as a descriptor. Where the connection ends before
    /// [`Request::Taken`], the successor has failed, and the daemon goes on.
    Yield,
    /// The successor has the guard. There is no answer.
    Taken,
}

/// A grant by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addition {
    /// To whom.
    pub prefix: Scoped<IpNet>,
    /// What they may be, by the roles' names; `none` alone denies.
    pub roles: Vec<String>,
    /// For how many seconds; for ever where absent.
    pub ttl: Option<u32>,
    /// What to remember of it.
    pub comment: Option<String>,
    /// Whether its replies may be longer than the requests.
    #[serde(default)]
    pub long_replies: bool,
}

/// The end of a grant by hand.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removal {
    /// Of whom.
    pub prefix: Scoped<IpNet>,
    /// Which roles, by their names; all of them where empty.
    pub roles: Vec<String>,
}

/// What the daemon answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Request::Status`].
    Status(Box<Status>),
    /// To [`Request::Sources`].
    Sources(Box<Inventory>),
    /// To [`Request::List`].
    List(Listing),
    /// To [`Request::Add`] and [`Request::Remove`].
    Edited(Edited),
    /// To [`Request::Update`].
    Updated(Updated),
    /// To [`Request::Top`].
    Top(Top),
    /// To [`Request::Events`]: from now on nothing is missed but what is said to be.
    Following,
    /// A packet that was judged.
    Event(Box<Event>),
    /// So many events are lost, because they came faster than they were read.
    Missed(u64),
    /// To [`Request::Yield`]: the guard is the successor's to take.
    Yielding,
    /// The daemon lives, and has not come to an answer yet. This comes every second until it has, and
    /// between events.
    Alive,
    /// The daemon is ending, and has not done what was asked.
    Ending,
    /// What could not be done, and why.
    Failed(String),
}
