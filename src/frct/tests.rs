extern crate std;

mod changes;
mod chaos;
mod ending;
mod interop;
mod messages;
mod narrow;
mod net;
mod orders;
mod properties;
mod reference;
mod rtt;
mod shapes;
mod speed;
mod transfer;
