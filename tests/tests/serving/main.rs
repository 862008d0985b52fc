//! Serving time: who is served by the daemon's own configuration gets through to it, iburst and all,
//! and nobody else does.

mod agreement;
mod crowd;
mod limits;
mod networks;
mod opinion;
mod racing;
