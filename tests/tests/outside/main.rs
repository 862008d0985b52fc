//! What others say, show and hold up: the guard asks only daemons that are what they seem, shows what it
//! is given so that it does no harm, and waits for nothing outside.

use std::time::Duration;

mod answers;
mod calls;
mod crowd;
mod events;
mod exhausted;
mod hanging;
mod names;
mod pipes;
mod sockets;

/// An ordinary user.
const USER: u32 = 1500;

/// How long a guard has to hear of a change: it asks every 10 s.
const HEARD: Duration = Duration::from_secs(25);
