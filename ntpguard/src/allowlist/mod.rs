//! One set of grants, made of everything that vouches for an address.

pub mod projection;
