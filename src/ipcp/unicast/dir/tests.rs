//! Many machines in one network of virtual time, and one machine among strangers.

mod layers;
mod net;
mod reference;
