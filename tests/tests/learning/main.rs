//! The guard learns which servers the time daemon asks from its requests, and from nobody else's.

mod exec;
mod guests;
mod orders;
mod others;
mod pool;
mod scene;
mod services;
mod unseen;
