//! Whoever can forge a listed server's address and port still gets no reply through but one that
//! answers a request: no flood of random origins, no copy, no kiss of death, no longer reply.

mod by_hand;
mod live;
mod scene;
