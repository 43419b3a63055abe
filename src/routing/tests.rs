extern crate std;

mod convergence;
mod failures;
mod hostile;
mod manners;
mod memory;
mod net;
mod reference;
mod scale;
mod together;
