extern crate std;

mod net;
mod rtt;
mod shapes;
mod speed;
mod transfer;
