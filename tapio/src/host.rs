//! What demo, tests and benchmarks need of the system beside ports.
