//! What the guard tells of single packets, who may follow it, and who sends most.

mod counting;
mod kinds;
mod scene;
mod top;
mod viewers;
