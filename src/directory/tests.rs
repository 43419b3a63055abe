//! Many machines in one network of virtual time, and one machine among strangers.

mod behaviour;
mod hostile;
mod layers;
mod mixed;
mod net;
mod pressure;
mod properties;
mod quotas;
mod reference;
