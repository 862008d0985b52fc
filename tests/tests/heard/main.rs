//! A server that is not heard shows in `status` with its cause, and the command that helps does.
//!
//! Real daemons ask a server that answers as it should not.

mod astray;
mod causes;
mod cures;
mod forged;
mod scene;
