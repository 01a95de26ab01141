//! The integration tests: one binary, so that it is linked once.

mod architecture;
mod attacks;
mod conformance;
mod faults;
mod journeys;
