extern crate std;

mod interop;
mod net;
mod reference;
mod rtt;
mod shapes;
mod speed;
mod transfer;
